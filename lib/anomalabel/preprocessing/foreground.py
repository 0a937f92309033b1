"""Which voxels are body and which are air."""

from __future__ import annotations

from collections.abc import Callable

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from skimage.filters import threshold_otsu

from anomalabel.volume import FloatArray, Volume

Mask = NDArray[np.bool_]

CT_BODY_HU = -300.0
"""Between air or foam (below -700) and fat (-100), so that skin stays body."""

CT_AIR_HU = -700.0
CT_AIR_SHARE = 0.1
"""A file that names no modality is read as CT where this share of it lies below `CT_AIR_HU`."""

COARSEST_GRID_MM = 1.5
"""Finer volumes are thinned to about this spacing for the mask: a body's outline needs no more."""

TABLE_MM = 4.0
"""Shells of a CT table, tubes and blankets thinner than this are cut off the body."""

KEPT_COMPONENT_SHARE = 0.1
"""Parts of at least this share of the largest one are body too: two breasts, two legs."""

NOISE_DEVIATIONS = 6.0
"""Body begins this many deviations above the median of the noise, at most at Otsu's threshold."""

DARK_SHARE = 0.35
"""Air is air only where its level lies below this share of the body's."""

LEAST_CONTRAST = 0.05
"""Body lies above the air by at least this share of the contrast between them."""

CLEAR_OF_BODY_MM = 10.0
"""Noise is measured this far from all that is bright."""

MINIMUM_BORDER_SHARE = 0.05
"""There is air only where it makes up this share of the volume's borders; noise, of the air."""

SAMPLED_VOXELS = 1_000_000
"""Thresholds come from about this many voxels, so that they cost neither time nor memory."""

MINIMUM_BODY_SHARE = 0.005
"""A smaller body is none: the whole image is looked at instead."""


def body_mask(volume: Volume, closing_mm: float) -> Mask:
    """Voxels of the body, cavities included: threshold, largest parts, holes filled slice by slice, gaps closed.

    Args:
        volume: any modality; CT is told by its modality or its Hounsfield units.
        closing_mm: gaps narrower than this are filled.

    Returns:
        (Z, Y, X) bool; everything where no background is found.
    """
    steps = [max(int(COARSEST_GRID_MM / spacing), 1) for spacing in volume.spacing_mm[::-1]]
    coarse = volume.array[tuple(slice(None, None, step) for step in steps)]
    spacing_mm = [spacing * step for spacing, step in zip(volume.spacing_mm[::-1], steps, strict=True)]
    hounsfield = _is_hounsfield(coarse, volume.modality)
    threshold = CT_BODY_HU if hounsfield else _threshold(coarse, spacing_mm)
    if threshold is None:
        return np.ones(volume.shape, dtype=bool)
    mask = _largest_parts(coarse > threshold, spacing_mm, TABLE_MM if hounsfield else 0.0)
    if mask.mean() < MINIMUM_BODY_SHARE:
        return np.ones(volume.shape, dtype=bool)
    mask = _closed(mask, [_odd_width(closing_mm, spacing) for spacing in spacing_mm])
    for plane in mask:
        _fill_holes(plane)
    for axis, step in enumerate(steps):
        mask = np.repeat(mask, step, axis=axis) if step > 1 else mask
    z, y, x = volume.shape
    return mask[:z, :y, :x]


def _is_hounsfield(coarse: FloatArray, modality: str) -> bool:
    return modality == "CT" or (not modality and float(np.mean(coarse < CT_AIR_HU)) > CT_AIR_SHARE)


def _threshold(coarse: FloatArray, spacing_mm: list[float]) -> float | None:
    """The value above which a voxel of an image without units is body; None where no background is found."""
    values = _sampled(coarse)
    if values.size == 0 or values.min() == values.max():
        return None
    lowest = float(values.min())
    # Bright fat or contrast agent would pull Otsu's threshold above darker tissue.
    otsu = float(threshold_otsu(np.minimum(values, values[values > values.mean()].mean())))
    border = _border_values(coarse)
    if border.size == 0 or np.mean(border <= otsu) < MINIMUM_BORDER_SHARE:
        return None
    near_body = _dilated(coarse > otsu, [_odd_width(2 * CLEAR_OF_BODY_MM, spacing) for spacing in spacing_mm])
    air = _sampled(coarse, ~near_body)
    noise = air[air > lowest]
    if noise.size <= MINIMUM_BORDER_SHARE * air.size:
        return lowest if np.mean(values == lowest) > MINIMUM_BORDER_SHARE else None
    level, body = float(np.median(noise)), float(np.median(values[values > otsu]))
    reference = min(lowest, 0.0)
    if level - reference > DARK_SHARE * (body - reference):
        return None
    deviation = 1.4826 * float(np.median(np.abs(noise - level)))
    return min(otsu, level + max(NOISE_DEVIATIONS * deviation, LEAST_CONTRAST * (body - level)))


def _sampled(coarse: FloatArray, where: Mask | None = None) -> FloatArray:
    """Finite values, evenly thinned to a number that tells their distribution, where the mask says so."""
    step = max(round((coarse.size / SAMPLED_VOXELS) ** (1 / 3)), 1)
    thinned = tuple(slice(None, None, step if length > step else 1) for length in coarse.shape)
    sample = coarse[thinned]
    chosen = np.isfinite(sample)
    return sample[chosen if where is None else chosen & where[thinned]]


def _border_values(coarse: FloatArray) -> FloatArray:
    """Finite values on the faces of the volume, of a single slice on its four sides."""
    faces = [
        np.take(coarse, end, axis=axis).ravel()
        for axis, length in enumerate(coarse.shape)
        if length > 1
        for end in (0, -1)
    ]
    border = np.concatenate(faces)
    return border[np.isfinite(border)]


def _largest_parts(mask: Mask, spacing_mm: list[float], thin_mm: float) -> Mask:
    """The large parts, cut free of structures thinner than `thin_mm` first and grown back within the mask."""
    widths = [_odd_width(thin_mm, spacing) for spacing in spacing_mm]
    labels = cc3d.connected_components(_eroded(mask, widths), connectivity=6)
    sizes = cc3d.statistics(labels)["voxel_counts"]
    sizes[0] = 0
    if not sizes.any():
        return mask
    kept = (sizes >= KEPT_COMPONENT_SHARE * sizes.max())[labels]
    return _dilated(kept, [width + 2 if width > 1 else 1 for width in widths]) & mask


def _fill_holes(plane: Mask) -> None:
    """Fill, in place, what the (H, W) mask encloses: lungs and airways open to the outside only in other slices."""
    labels = cc3d.connected_components((~plane).astype(np.uint8), connectivity=4)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    plane |= ~np.isin(labels, outside) & (labels > 0)


def _odd_width(width_mm: float, spacing_mm: float) -> int:
    """Voxels of a centred window about `width_mm` wide."""
    return 2 * int(round(width_mm / spacing_mm) // 2) + 1


def _eroded(mask: Mask, widths: list[int]) -> Mask:
    return _filtered(mask, widths, minimum_filter1d, 1)


def _dilated(mask: Mask, widths: list[int]) -> Mask:
    return _filtered(mask, widths, maximum_filter1d, 0)


def _closed(mask: Mask, widths: list[int]) -> Mask:
    return _eroded(_dilated(mask, widths), widths)


def _filtered(mask: Mask, widths: list[int], filter1d: Callable[..., np.ndarray], outside: int) -> Mask:
    filtered = mask.view(np.uint8)
    for axis, width in enumerate(widths):
        if width > 1:
            filtered = filter1d(filtered, width, axis=axis, mode="constant", cval=outside)
    return filtered.view(bool)
