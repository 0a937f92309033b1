"""Patch maps of slices, painted onto the volume they were cut from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import PreprocessingSettings
from anomalabel.detectors.base import PreparedImage, Progress
from anomalabel.errors import ImageReadError
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.localization.patch_features import PatchStore, SlicePatches, extract_patches
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import FloatArray

Extract = Callable[[PreparedImage, Sequence[SlicePosition]], list[SlicePatches]]
Score = Callable[[list[SlicePatches]], tuple[FloatArray, ...]]
"""One or several kinds of maps (N, rows, columns) of N slices, NaN where unseen."""


@dataclass(frozen=True)
class PaintedMaps:
    """Maps on the volume's grid.

    Args:
        volumes: (Z, Y, X) of each kind, NaN where nothing was seen.
        slices: (rows, columns) of the first kind, of each slice that shows body.
    """

    volumes: tuple[FloatArray, ...]
    slices: tuple[FloatArray, ...]


def paint_maps(
    image: PreparedImage, batch_size: int, extract: Extract, score: Score, progress: Progress
) -> PaintedMaps:
    """Score the slices of an image batch by batch; memory beyond the volumes' does not grow with their number.

    Raises:
        ImageReadError: no patch of any slice holds body.
        ModelError: the encoder answers with NaN or infinity.
    """
    canvases: list[MapCanvas] = []
    kept: list[FloatArray] = []
    for start in range(0, len(image.positions), batch_size):
        progress(start, len(image.positions))
        chosen = image.positions[start : start + batch_size]
        slices = extract(image, chosen)
        kinds = score(slices)
        canvases = canvases or [MapCanvas(image.prepared.scaled.shape, image.affine_ras) for _ in kinds]
        for number, (position, one) in enumerate(zip(chosen, slices, strict=True)):
            if not one.seen.any():
                continue
            kept.append(kinds[0][number])
            for canvas, maps in zip(canvases, kinds, strict=True):
                canvas.add(position, one.frame.to_source(fill_unseen(maps[number], np.isfinite(maps[number]))))
    progress(len(image.positions), len(image.positions))
    if not kept:
        raise ImageReadError("No patch of the image holds body.", "Turn the foreground mask off in the config.")
    return PaintedMaps(tuple(canvas.mean(image.prepared.seen) for canvas in canvases), tuple(kept))


def extract_batches(
    encoder: PatchEncoder,
    preprocessing: PreprocessingSettings,
    image: PreparedImage,
    positions: Sequence[SlicePosition],
    batch_size: int,
    store: PatchStore | None,
) -> list[SlicePatches]:
    """Patch features of the slices at `positions`, `batch_size` of them encoded at a time."""
    return [
        patches
        for start in range(0, len(positions), batch_size)
        for patches in extract_patches(
            encoder, preprocessing, image.prepared, image.affine_ras, positions[start : start + batch_size], store
        )
    ]


def fill_unseen(values: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """A map (rows, columns) with each unseen patch set to its nearest seen one, for interpolation up to the border."""
    nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return values[tuple(nearest)]
