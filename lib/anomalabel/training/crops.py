"""Crops of one diseased image, with its lesion and without."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from anomalabel.training.synthetic import BODY_LEVEL, FloatImage

TRIES = 20
MINIMUM_BODY = 0.4


def crop_beside(both: FloatImage, generator: np.random.Generator) -> FloatImage | None:
    """A square crop (45 to 70 percent of the side) without lesion and mostly body, at full size; None if none is found.

    Args:
        both: (2, side, side), image and lesion in [0, 1].
    """
    for _ in range(TRIES):
        crop = _square(both, generator.uniform(0.45, 0.7), generator.uniform(size=2))
        if not crop[1].any() and (crop[0] > BODY_LEVEL).mean() > MINIMUM_BODY:
            return _enlarge(crop, both.shape[-1])
    return None


def crop_around(both: FloatImage, generator: np.random.Generator) -> FloatImage | None:
    """A square crop of the same sizes that holds at least half of the lesion; None if none is found."""
    whole = both[1].sum()
    for _ in range(TRIES):
        crop = _square(both, generator.uniform(0.45, 0.7), generator.uniform(size=2))
        if whole > 0 and crop[1].sum() > whole / 2:
            return _enlarge(crop, both.shape[-1])
    return None


def _square(both: FloatImage, share: float, place: NDArray[np.float64]) -> FloatImage:
    side = both.shape[-1]
    length = int(side * share)
    top, left = (int(part * (side - length)) for part in place)
    return both[:, top : top + length, left : left + length]


def _enlarge(crop: FloatImage, side: int) -> FloatImage:
    resized = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(crop))[None], size=(side, side), mode="bilinear", align_corners=False
    )
    return resized[0].numpy()
