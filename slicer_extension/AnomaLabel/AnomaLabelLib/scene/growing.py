"""From the box of a finding to the voxels that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import ndimage

from ..errors import SceneError
from ..translation import _

NEIGHBOURS = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner: 26."""


class BoxedFinding(Protocol):
    """What is asked of a finding: its id and name, its box and peak in (i, j, k) of the heatmap, inclusive."""

    id: str
    label: str
    peak_index: tuple[int, int, int]
    index_min: tuple[int, int, int]
    index_max: tuple[int, int, int]


@dataclass(frozen=True)
class Region:
    """Voxels of a finding, (Z, Y, X) bool on the heatmap's grid, and what is to be said of them ("" for nothing)."""

    mask: np.ndarray
    note: str = ""


def grow(values: np.ndarray, threshold: float, finding: BoxedFinding) -> Region:
    """The voxels above a threshold that hang together with the finding's peak, inside its box.

    A box that was dragged away from its peak grows from its largest value. One in which nothing lies above the
    threshold, as a box drawn by hand, is taken whole.

    Args:
        values: heatmap (Z, Y, X), NaN where nothing was seen.
        threshold: of the map; what equals it lies outside.

    Raises:
        SceneError: the box lies outside the heatmap.
    """
    box = _box(finding, values.shape)
    inside = values[box]
    above = inside > threshold
    mask = np.zeros(values.shape, bool)
    if not above.any():
        mask[box] = True
        note = _("Nothing inside the box lies above the threshold: the segment is the whole box.")
        return Region(mask, note)
    pieces, _count = ndimage.label(above, structure=NEIGHBOURS)
    mask[box] = pieces == pieces[_seed(finding, box, inside, above)]
    return Region(mask)


def _box(finding: BoxedFinding, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Slices over (Z, Y, X), cut off at the image's borders."""
    box = tuple(
        slice(max(0, low), min(size, high + 1))
        for low, high, size in zip(finding.index_min[::-1], finding.index_max[::-1], shape, strict=True)
    )
    if any(part.start >= part.stop for part in box):
        raise SceneError(
            _("The box of '{label}' lies outside the image.").format(label=finding.label[:40]),
            _("Drag it onto the image and try again."),
        )
    return box


def _seed(finding: BoxedFinding, box: tuple[slice, ...], inside: np.ndarray, above: np.ndarray) -> tuple[int, ...]:
    """Where to grow from, as an index into the box."""
    peak = tuple(index - part.start for index, part in zip(finding.peak_index[::-1], box, strict=True))
    if all(0 <= index < size for index, size in zip(peak, above.shape, strict=True)) and above[peak]:
        return peak
    return tuple(int(index) for index in np.unravel_index(int(np.nanargmax(inside)), inside.shape))
