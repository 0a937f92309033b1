"""Uncertainty by Monte Carlo dropout after the frozen encoder (few_shot_localization.txt eq. 10)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anomalabel.errors import ConfigError


def drop(features: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Set each number to 0 with a probability and divide the others by what remains, so that the mean stays.

    torch's own dropout draws from a global state, which two requests at once would share.

    Args:
        features: any shape.
        probability: in [0, 1); at 0 the features come back and nothing is drawn.
        generator: on any device; the mask is drawn on it.
    """
    if probability == 0:
        return features
    chance = torch.rand(features.shape, generator=generator, device=generator.device)
    kept = (chance >= probability).to(features.device, features.dtype)
    return features * kept / (1 - probability)


def dropout_statistics(
    draw: Callable[[torch.Generator], Tensor], passes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of random passes (eq. 10, with 1/T), summed up as they come (Welford).

    Memory doesn't grow with the number of passes, and nothing is lost where the deviation is small beside the mean.

    Args:
        draw: one pass; equal shapes each time.
        passes: T, at least 1.
        generator: handed to each pass.

    Raises:
        ConfigError: no pass.
    """
    _check(passes)
    mean = draw(generator)
    squares = torch.zeros_like(mean)
    for number in range(2, passes + 1):
        value = draw(generator)
        difference = value - mean
        mean = mean + difference / number
        squares = squares + difference * (value - mean)
    return mean, (squares / passes).clamp_min(0).sqrt()


def batched_dropout_statistics(
    score: Callable[[Tensor], Tensor], features: Tensor, probability: float, passes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same from one call on all passes at once: T times the memory, and the cost of a call once.

    It draws the masks that `dropout_statistics` would draw with `score(drop(features, probability, generator))`, so
    both agree up to rounding.

    Args:
        score: (T * N, ...) to (T * N, ...), row by row.
        features: (N, ...).
        probability: in [0, 1).
        passes: T, at least 1.
        generator: of the masks.

    Raises:
        ConfigError: no pass.
    """
    _check(passes)
    dropped = torch.cat([drop(features, probability, generator) for _ in range(passes)])
    values = score(dropped).unflatten(0, (passes, len(features)))
    deviation, mean = torch.std_mean(values, dim=0, correction=0)
    return mean, deviation


def _check(passes: int) -> None:
    if passes < 1:
        raise ConfigError(
            f"Dropout uncertainty from {passes} passes was asked for; at least 1 is needed.",
            "Set uncertainty.passes to 1 or more, or ask for no uncertainty.",
        )
