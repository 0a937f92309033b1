"""How large errors are on healthy images, place by place, so that edges which are always hard stop lighting up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.errors import ModelError

NEIGHBOURHOOD = 5
"""Cells along the square over which neighbouring places share what they know: patients do not lie on a grid."""

LEAST_DEVIATION = 0.1
"""Share of the deviation over all places that is added to each place's: a few dozen healthy images may agree somewhere
by chance."""


@dataclass(frozen=True)
class HealthyLevel:
    """Mean and standard deviation of errors of healthy images that the network did not learn from.

    Args:
        mean: (cells, cells).
        deviation: (cells, cells), above 0.
    """

    mean: Tensor
    deviation: Tensor

    def standardised(self, errors: Tensor) -> Tensor:
        """Errors (N, cells, cells) in standard deviations above the mean at their place."""
        return (errors - self.mean) / self.deviation

    def to(self, device: torch.device) -> HealthyLevel:
        """On a device."""
        return HealthyLevel(self.mean.to(device), self.deviation.to(device))


@dataclass(frozen=True)
class ErrorSums:
    """What is needed of errors to know their level, so that single images can be left out of it.

    Args:
        count, total, squares: (cells, cells) float64; of each cell, how often it was inside, and the sums of its errors
            and of their squares.
    """

    count: Tensor
    total: Tensor
    squares: Tensor

    @classmethod
    def of(cls, errors: Tensor, inside: Tensor) -> ErrorSums:
        """Of slices (N, cells, cells), counting where they are inside (N, cells, cells) bool."""
        seen = inside.double()
        values = errors.double() * seen
        return cls(seen.sum(0), values.sum(0), (values * values).sum(0))

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(self.count - other.count, self.total - other.total, self.squares - other.squares)

    def level(self) -> HealthyLevel:
        """The level; a place that no slice shows has that of all places together.

        Raises:
            ModelError: no slice shows anything, or all errors are equal.
        """
        seen = self.count.sum()
        if seen < 1:
            raise ModelError(
                "Nothing is seen in the held-out healthy images.", "Turn the foreground mask off in the config."
            )
        middle = self.total.sum() / seen
        overall = (self.squares.sum() / seen - middle**2).clamp_min(0).sqrt()
        if overall <= 1e-9 * middle.abs() or overall == 0:
            raise ModelError(
                "The network restores all held-out healthy images with the same error everywhere.",
                "Look at the images: they may be empty or copies of each other.",
            )
        count, total, squares = (_shared(values) for values in (self.count, self.total, self.squares))
        known = count * NEIGHBOURHOOD**2 > 0.5
        often = count.clamp_min(1e-9)
        mean = torch.where(known, total / often, middle)
        spread = torch.where(known, (squares / often - mean**2).clamp_min(0).sqrt(), overall)
        return HealthyLevel(mean.float(), (spread + LEAST_DEVIATION * overall).float())


def _shared(values: Tensor) -> Tensor:
    """(cells, cells) means over the neighbourhood of each cell, what lies beyond the border counting as nothing."""
    return functional.avg_pool2d(values[None], NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2)[0]
