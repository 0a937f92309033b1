"""CutPaste (Li et al. 2021; few_shot_localization.txt section 5.1): tissue where it doesn't belong."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from anomalabel.training.tasks.change import Change, difference_of_looks
from anomalabel.training.tasks.region import Mask, Region, draw_place, draw_region
from anomalabel.volume import FloatArray

BLENDING = (0.2, 0.5)
"""Over this share of its radius to either side of its outline a patch fades into what it covers: no seam shows."""

LEAST_TISSUE = 0.95
"""A patch holds at least this share of body; air pasted into a body would be too easy to tell."""

ALIKE = 0.045
"""A patch whose looks differ by less from what it covers, on average over it, is no anomaly."""

WHOLE = 6
"""Looks are compared in neighbourhoods of the patch's size over this: as a whole, not in its grain."""


def cut_and_paste(image: FloatArray, body: Mask, generator: np.random.Generator) -> Change | None:
    """Paste a turned, perhaps mirrored, irregular patch of the image onto another place of its body.

    Args:
        image: (H, W) float32 in [0, 1].
        body: (H, W), not empty; patches come from it and lie in it.
        generator: the only source of randomness.

    Returns:
        The change; None where no patch of the drawn size has room in the body, or it looks like what it covers.
    """
    region = draw_region(body, generator)
    extent = _blended(region, generator.uniform(*BLENDING)) * body
    apart = np.hypot(*(np.indices(body.shape) - region.centre[:, None, None])) > region.diameter
    if not (apart & body).any():
        return None
    source = draw_place(apart & body, generator)
    turn, mirrored = generator.uniform(0, 2 * np.pi), generator.choice([-1.0, 1.0])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * [1.0, mirrored]
    offset = source - matrix @ region.centre
    tissue = ndimage.affine_transform(body.astype(np.float32), matrix, offset, order=0)
    if (tissue * extent).sum() < LEAST_TISSUE * extent.sum():
        return None
    patch = np.clip(ndimage.affine_transform(image, matrix, offset, order=3, mode="reflect"), 0, 1)
    pasted = np.where(extent > 0, image + extent * (patch - image), image).astype(np.float32)
    return None if _looks_alike(image, pasted, extent) else Change(pasted, extent)


def _looks_alike(before: FloatArray, after: FloatArray, extent: FloatArray) -> bool:
    area = float(extent.sum())
    difference = difference_of_looks(before, after, float(np.sqrt(area)) / WHOLE)
    return bool((difference * extent).sum() <= ALIKE * area)


def _blended(region: Region, width: float) -> FloatArray:
    """1 inside, 0 outside, a smooth step of 2 * width across the outline."""
    share = np.clip((1 + width - region.distance) / (2 * width), 0, 1)
    return share * share * (3 - 2 * share)
