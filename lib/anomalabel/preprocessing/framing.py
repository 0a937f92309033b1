"""How a slice sits inside the square input of a model, and how the model's map comes back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anomalabel.volume import FloatArray

BODY_MARGIN = 0.05
"""Air left around the body, as a share of its longer side."""

BORDER_TOLERANCE = 1e-6
"""Rounding allowed, in pixels, where a pixel's centre lies on the border of the square."""


@dataclass(frozen=True)
class SquareFrame:
    """A square window over a slice, aspect-true in millimetres; what lies beyond the slice is padded with 0.

    Pixel centres lie half a pixel inside their borders, in the slice, in the square and in any map over the square.

    Args:
        shape: (H, W) pixels of the slice.
        spacing_mm: between rows and between columns.
        side: pixels along each side of the model's input.
        origin_mm: upper left border of the square, (row, column), measured from the slice's upper left border.
        extent_mm: length of the square's sides.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    side: int
    origin_mm: tuple[float, float]
    extent_mm: float

    @classmethod
    def around(
        cls, shape: tuple[int, int], spacing_mm: tuple[float, float], side: int, seen: np.ndarray | None = None
    ) -> SquareFrame:
        """The smallest centred square around a slice, or around its body with a margin.

        Args:
            seen: (H, W) bool of the body; None, or nothing seen, frames the whole slice.
        """
        starts, stops = [0, 0], list(shape)
        margin = 0.0
        if seen is not None and seen.any():
            for axis in (0, 1):
                filled = np.flatnonzero(seen.any(axis=1 - axis))
                starts[axis], stops[axis] = int(filled[0]), int(filled[-1]) + 1
            margin = BODY_MARGIN
        borders_mm = [(starts[axis] * spacing_mm[axis], stops[axis] * spacing_mm[axis]) for axis in (0, 1)]
        extent = max(stop - start for start, stop in borders_mm) * (1 + 2 * margin)
        whole = max(length * spacing for length, spacing in zip(shape, spacing_mm, strict=True))
        extent = min(extent, whole)
        row, column = ((start + stop) / 2 - extent / 2 for start, stop in borders_mm)
        return cls(shape, spacing_mm, side, (row, column), extent)

    def to_model(self, image: np.ndarray) -> FloatArray:
        """Resample slices to the square, smoothed where they shrink.

        Args:
            image: (..., H, W) finite.

        Returns:
            (..., side, side) float32, 0 where the square lies beyond the slice.
        """
        rows, columns = (_shrinking_weights(*self._axis(axis), self.side) for axis in (0, 1))
        return rows @ np.asarray(image, dtype=np.float32) @ columns.T

    def to_source(self, model_map: np.ndarray) -> FloatArray:
        """Interpolate maps over the square bilinearly at the slice's pixel centres.

        Args:
            model_map: (..., h, w) finite; any resolution, covering the whole square.

        Returns:
            (..., H, W) float32, NaN where a pixel of the slice lies outside the square.
        """
        values = np.asarray(model_map, dtype=np.float32)
        upper, lower, down, row_inside = _neighbours(*self._axis(0), values.shape[-2])
        left, right, across, column_inside = _neighbours(*self._axis(1), values.shape[-1])
        # Not as a product of matrices: waking a BLAS library's threads takes longer than the work.
        rows = values[..., upper, :] * (1 - down)[:, np.newaxis] + values[..., lower, :] * down[:, np.newaxis]
        source: FloatArray = rows[..., left] * (1 - across) + rows[..., right] * across
        if not (row_inside.all() and column_inside.all()):
            source[..., ~(row_inside[:, np.newaxis] & column_inside)] = np.nan
        return source

    def _axis(self, axis: int) -> tuple[int, float, float, float]:
        return self.shape[axis], self.spacing_mm[axis], self.origin_mm[axis], self.extent_mm


@lru_cache(maxsize=64)
def _shrinking_weights(
    length: int, spacing_mm: float, origin_mm: float, extent_mm: float, side: int
) -> NDArray[np.float32]:
    """(side, length) triangle filter as wide as the coarser grid's pixels; rows sum to 1, or to 0 outside the slice."""
    model_mm = origin_mm + (np.arange(side) + 0.5) * extent_mm / side
    source_mm = (np.arange(length) + 0.5) * spacing_mm
    width_mm = max(extent_mm / side, spacing_mm)
    # Between the outermost pixel centre and the border no second neighbour exists: the outermost pixel is repeated.
    reached_mm = np.clip(model_mm, source_mm[0], source_mm[-1])
    weights = np.maximum(1 - np.abs(reached_mm[:, np.newaxis] - source_mm) / width_mm, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    weights[(model_mm < 0) | (model_mm > length * spacing_mm)] = 0
    return _shared(weights)


@lru_cache(maxsize=64)
def _neighbours(
    length: int, spacing_mm: float, origin_mm: float, extent_mm: float, map_length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]:
    """For each of the slice's pixel centres its two neighbours in the map, the second one's weight, and whether it lies
    inside the square; (length,) each."""
    place = ((np.arange(length) + 0.5) * spacing_mm - origin_mm) / extent_mm * map_length - 0.5
    inside = (place >= -0.5 - BORDER_TOLERANCE) & (place <= map_length - 0.5 + BORDER_TOLERANCE)
    place = np.clip(place, 0, map_length - 1)
    first = np.minimum(place.astype(np.intp), max(map_length - 2, 0))
    second = np.minimum(first + 1, map_length - 1)
    return first, second, _shared(place - first), inside


def _shared(weights: np.ndarray) -> NDArray[np.float32]:
    """float32 and read-only, since the cache hands the same array to every caller."""
    shared = weights.astype(np.float32)
    shared.setflags(write=False)
    return shared
