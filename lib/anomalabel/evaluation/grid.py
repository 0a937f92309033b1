"""The grid that a case is judged on: a volume's own, a picture's reduced to at most 256 pixels along its longer side.

The methods see every picture in full; only their maps and the truth are reduced, so that Hausdorff distances and region
overlaps of thousands of large pictures can be computed. Maps are averaged over area, masks take the nearest pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from anomalabel.evaluation.cases import Box
from anomalabel.volume import FloatArray, Matrix

MAXIMUM_SIDE = 256
GRID_RULE = (
    f"Pictures are judged on a grid of at most {MAXIMUM_SIDE} pixels along the longer side (maps averaged over area, "
    "masks by the nearest pixel), volumes on their own grid; distances are in pixels of that grid."
)
SEEN_SHARE = 0.5
"""A reduced pixel counts as seen where at least this share of what it covers was seen."""


@dataclass(frozen=True)
class EvaluationGrid:
    """How a source grid becomes the one that is judged.

    Args:
        source: (Z, Y, X) of the image.
        shape: (Y, X) of a picture, (Z, Y, X) of a volume.
    """

    source: tuple[int, int, int]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, source: tuple[int, int, int]) -> EvaluationGrid:
        """The grid of an image of shape (Z, Y, X); one slice is a picture."""
        if source[0] > 1:
            return cls(source, source)
        rows, columns = source[1:]
        factor = min(1.0, MAXIMUM_SIDE / max(rows, columns))
        return cls(source, (max(1, round(rows * factor)), max(1, round(columns * factor))))

    @property
    def reduced(self) -> bool:
        """Whether the grid is coarser than the source's."""
        return len(self.shape) == 2 and self.shape != self.source[1:]

    def of_map(self, anomaly_map: FloatArray) -> FloatArray:
        """A map (Z, Y, X) on this grid, averaged over what was seen; NaN where most was not."""
        if len(self.shape) == 3:
            return anomaly_map
        plane = anomaly_map[0]
        if not self.reduced:
            return plane
        seen = np.isfinite(plane)
        values = torch.from_numpy(np.stack([np.where(seen, plane, 0), seen]).astype(np.float32))
        total, share = functional.interpolate(values[None], size=self.shape, mode="area")[0].numpy()
        reduced = np.full(self.shape, np.nan, dtype=np.float32)
        np.divide(total, share, out=reduced, where=share >= SEEN_SHARE)
        return reduced

    def of_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask (Z, Y, X) on this grid: of each pixel what lies under its centre."""
        if len(self.shape) == 3:
            return mask
        rows, columns = (
            np.floor((np.arange(length) + 0.5) * source / length).astype(int)
            for length, source in zip(self.shape, self.source[1:], strict=True)
        )
        return mask[0][np.ix_(rows, columns)]

    def of_box(self, box: Box) -> Box:
        """A box in source indices, (Z, Y, X) or of a picture (Y, X), on this grid; at least one pixel stays of it."""
        low, high = box.low[-len(self.shape) :], box.high[-len(self.shape) :]
        if not self.reduced:
            return Box(low, high, box.score)
        edges = [
            _pixels(first, last, source, length)
            for first, last, source, length in zip(low, high, self.source[1:], self.shape, strict=True)
        ]
        return Box(tuple(first for first, _ in edges), tuple(last for _, last in edges), box.score)

    def affine_ras(self, affine_ras: Matrix) -> Matrix:
        """(4, 4) whose voxels have the size of this grid's, so that areas and volumes in millimetres stay true."""
        if not self.reduced:
            return affine_ras
        rows, columns = (source / length for length, source in zip(self.shape, self.source[1:], strict=True))
        return affine_ras @ np.diag([columns, rows, 1.0, 1.0])


def _pixels(low: int, high: int, source: int, length: int) -> tuple[int, int]:
    """First and last pixel of an interval whose borders go to the nearest borders of a coarser grid."""
    first = min(int(low * length / source + 0.5), length - 1)
    last = int((high + 1) * length / source + 0.5) - 1
    return first, min(max(last, first), length - 1)
