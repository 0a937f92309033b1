"""Identity (few_shot_localization.txt section 5.1): a healthy image stays as it is."""

from __future__ import annotations

import numpy as np

from anomalabel.training.tasks.change import Change
from anomalabel.training.tasks.region import Mask
from anomalabel.volume import FloatArray


def leave_as_is(image: FloatArray, body: Mask, generator: np.random.Generator) -> Change:
    """The same image (H, W) as a copy, changed nowhere; body and generator are not looked at."""
    return Change(image.astype(np.float32), np.zeros(image.shape, dtype=np.float32))
