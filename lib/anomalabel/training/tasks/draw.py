"""One training example of a healthy image: a task drawn by its share, and a mask that is true to what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from anomalabel.config import TaskShares
from anomalabel.training.tasks.change import Change, seen_change
from anomalabel.training.tasks.cutpaste import cut_and_paste
from anomalabel.training.tasks.gaussian_intensity import change_intensity
from anomalabel.training.tasks.identity import leave_as_is
from anomalabel.training.tasks.region import Mask
from anomalabel.training.tasks.source_deformation import push_from_point
from anomalabel.volume import FloatArray

IDENTITY = "identity"

TASKS: Mapping[str, Callable[[FloatArray, Mask, np.random.Generator], Change | None]] = {
    "cutpaste": cut_and_paste,
    "gaussian_intensity": change_intensity,
    "source_deformation": push_from_point,
    IDENTITY: leave_as_is,
}
"""By the names of `TaskShares`."""

TRIES = 12
"""Changes drawn in a row that can't be seen, after which the image is given back as it is."""

LEAST_SEEN = 0.25
"""At least this share of what a task reached into must show, or it is drawn again."""


@dataclass(frozen=True)
class TaskExample:
    """An image with what was done to it.

    Args:
        image: (H, W) float32 in [0, 1].
        mask: (H, W) float32 in [0, 1], how much each pixel was changed by the anomaly; 0 everywhere for identity.
        task: a name of `TASKS`.
    """

    image: FloatArray
    mask: FloatArray
    task: str


def draw_task(image: FloatArray, body: Mask, shares: TaskShares, generator: np.random.Generator) -> TaskExample:
    """Make one training example (few_shot_localization.txt section 5.1) of a framed 2-D image.

    Args:
        image: (H, W) float32 in [0, 1], healthy.
        body: (H, W) bool; anomalies lie in it. Where it is empty the whole image counts.
        shares: how often each task is drawn.
        generator: the only source of randomness.

    Returns:
        The example. A task whose changes can't be seen, on an image without texture say, is drawn again up to `TRIES`
        times; after that the example is identity, and says so.
    """
    weights = np.array([getattr(shares, name) for name in TASKS], dtype=np.float64)
    task = str(generator.choice(list(TASKS), p=weights / weights.sum()))
    place = body if body.any() else np.ones(image.shape, dtype=bool)
    if task != IDENTITY:
        for _ in range(TRIES):
            change = TASKS[task](image, place, generator)
            if change is None:
                continue
            mask = seen_change(image, change)
            if mask.any() and mask.sum() >= LEAST_SEEN * change.extent.sum():
                return TaskExample(change.image, mask, task)
    unchanged = leave_as_is(image, place, generator)
    return TaskExample(unchanged.image, unchanged.extent, IDENTITY)
