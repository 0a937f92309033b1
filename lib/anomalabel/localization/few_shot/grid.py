"""Patch features of all levels on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.localization.patch_features import SlicePatches

LARGEST_PATCH = 16
"""Pixels: maps finer than patches of this size cost four times the time and are no better (breast ultrasound, an
encoder that was not trained on it)."""


@dataclass(frozen=True)
class GridFeatures:
    """Features of N slices on one grid.

    Args:
        levels: (N, P, C_l) float32 each, P = rows * columns, row by row.
        seen: (N, P) bool, patches that hold body.
        grid: (rows, columns).
    """

    levels: tuple[Tensor, ...]
    seen: Tensor
    grid: tuple[int, int]

    def __len__(self) -> int:
        """Slices."""
        return len(self.seen)

    def of(self, chosen: Tensor) -> GridFeatures:
        """The slices at the places `chosen` (n,) int64."""
        return GridFeatures(tuple(level[chosen] for level in self.levels), self.seen[chosen], self.grid)


def common_grid(patches: SlicePatches) -> tuple[int, int]:
    """The coarsest of a slice's grids whose patches are not larger than `LARGEST_PATCH`, otherwise the finest."""
    grids = sorted((tuple(level.shape[1:]) for level in patches.levels), reverse=True)
    fine = [grid for grid in grids if min(grid) * LARGEST_PATCH >= patches.frame.side]
    rows, columns = fine[-1] if fine else grids[0]
    return rows, columns


def on_common_grid(patches: SlicePatches) -> SlicePatches:
    """The same slice with every level on the common grid; a patch is seen where any part of it is."""
    grid = common_grid(patches)
    levels = tuple(_resampled(level, grid) for level in patches.levels)
    seen = functional.adaptive_max_pool2d(torch.from_numpy(patches.seen).float()[None], grid)[0] > 0
    return replace(patches, seen=seen.numpy(), levels=levels)


def grid_features(slices: Sequence[SlicePatches]) -> GridFeatures:
    """Slices of one encoder that are on the common grid already, at least one."""
    rows, columns = slices[0].seen.shape
    levels = tuple(
        torch.stack([one.levels[number] for one in slices]).flatten(2).transpose(1, 2)
        for number in range(len(slices[0].levels))
    )
    seen = torch.stack([torch.from_numpy(one.seen) for one in slices]).flatten(1)
    return GridFeatures(levels, seen.to(levels[0].device), (rows, columns))


def _resampled(level: Tensor, grid: tuple[int, int]) -> Tensor:
    if level.shape[1:] == grid:
        return level
    return functional.interpolate(level[None], size=grid, mode="bilinear", align_corners=False, antialias=True)[0]
