"""Gaussian intensity change (few_shot_localization.txt section 5.1): a smooth blob gets brighter or darker."""

from __future__ import annotations

import numpy as np

from anomalabel.training.tasks.change import Change
from anomalabel.training.tasks.region import Mask, draw_region
from anomalabel.volume import FloatArray

CONTRAST = (0.15, 0.5)
"""By how much the blob's centre gets brighter or darker; images run from 0 to 1."""

FAINTEST = 0.02
"""Where less than this share of the contrast would be left, the Gaussian ends."""


def change_intensity(image: FloatArray, body: Mask, generator: np.random.Generator) -> Change:
    """Add or take away a Gaussian of irregular outline, half as strong there as at its centre; texture stays.

    Args:
        image: (H, W) float32 in [0, 1].
        body: (H, W), not empty; nothing outside it changes.
        generator: the only source of randomness.
    """
    region = draw_region(body, generator)
    gaussian = 0.5 ** (region.distance**2)
    extent = (np.clip((gaussian - FAINTEST) / (1 - FAINTEST), 0, 1) * body).astype(np.float32)
    contrast = generator.uniform(*CONTRAST) * generator.choice([-1.0, 1.0])
    return Change(np.clip(image + contrast * extent, 0, 1).astype(np.float32), extent)
