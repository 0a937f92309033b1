"""Slices into the square input of a network, and maps of it back onto the volume's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.config import PreprocessingSettings
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume, prepare_slice
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, slice_spacing_mm
from anomalabel.volume import FloatArray, Matrix


@dataclass(frozen=True)
class FramedSlice:
    """A slice in a network's input.

    Args:
        frame: how it sits there.
        image: (side, side) float32 in [0, 1].
        body: (side, side) float32, larger than 0 where anything of a pixel is body.
    """

    frame: SquareFrame
    image: FloatArray
    body: FloatArray

    def seen_patches(self, grid: tuple[int, int]) -> NDArray[np.bool_]:
        """(rows, columns) bool, the patches of a grid that hold any body; what lies beyond whole patches is ignored."""
        rows, columns = grid
        height, width = self.body.shape[0] // rows, self.body.shape[1] // columns
        whole = self.body[: rows * height, : columns * width]
        return whole.reshape(rows, height, columns, width).max(axis=(1, 3)) > 0


def frame_slice(
    scaled: FloatArray,
    seen: NDArray[np.bool_],
    spacing_mm: tuple[float, float],
    side: int,
    preprocessing: PreprocessingSettings,
) -> FramedSlice:
    """Denoise and equalise a slice as the settings say, and resample it into a square around its body.

    Args:
        scaled: (H, W) float32 in [0, 1], as `prepare_volume` gives it.
        seen: (H, W) bool.
        spacing_mm: between rows and between columns.
        side: of the network's input, pixels.
    """
    frame = SquareFrame.around((seen.shape[0], seen.shape[1]), spacing_mm, side, seen)
    image = frame.to_model(prepare_slice(scaled, preprocessing))
    return FramedSlice(frame, image, frame.to_model(seen.astype(np.float32)))


def frame_position(
    prepared: PreparedVolume,
    affine_ras: Matrix,
    position: SlicePosition,
    side: int,
    preprocessing: PreprocessingSettings,
) -> FramedSlice:
    """`frame_slice` of the slice at a position of a volume."""
    scaled, seen = (extract_slice(array, affine_ras, position) for array in (prepared.scaled, prepared.seen))
    return frame_slice(scaled, seen, slice_spacing_mm(affine_ras, position), side, preprocessing)


class MapCanvas:
    """Collects maps of slices on a volume's grid; where slices cross, their mean counts.

    Args:
        shape: (Z, Y, X).
        affine_ras: (4, 4).
    """

    def __init__(self, shape: tuple[int, ...], affine_ras: Matrix) -> None:
        self._total = np.zeros(shape, dtype=np.float32)
        self._count = np.zeros(shape, dtype=np.uint8)
        self._affine_ras = affine_ras

    def add(self, position: SlicePosition, on_slice: FloatArray) -> None:
        """Add a slice's map (H, W) in display orientation; NaN = not reached."""
        reached = np.isfinite(on_slice)
        of_total = extract_slice(self._total, self._affine_ras, position)
        of_count = extract_slice(self._count, self._affine_ras, position)
        # Both are views: the canvas itself changes.
        np.add(of_total, on_slice, out=of_total, where=reached)
        np.add(of_count, reached, out=of_count, casting="unsafe")

    def mean(self, seen: NDArray[np.bool_]) -> FloatArray:
        """(Z, Y, X) float32, NaN outside `seen` and where no slice came."""
        anomaly_map = np.full(self._total.shape, np.nan, dtype=np.float32)
        np.divide(self._total, self._count, out=anomaly_map, where=seen & (self._count > 0))
        return anomaly_map
