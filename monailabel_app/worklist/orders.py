"""Orders of the worklist, each by a rank that compares methods whose scores have different scales.

The rank of a case for one task is its place among all cases that the task has scored, as a share: in the middle of
1/n steps from 0 (lowest) to 1 (highest), ties at their mean.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import rankdata

from monailabel_app.scoring.store import StudyScore

OrderName = Literal["first", "random", "most_anomalous", "most_uncertain", "most_disagreement"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)

CaseScores = Mapping[str, Mapping[str, StudyScore]]
"""Image id to task to what it said."""

TaskValues = dict[str, dict[str, float]]
"""Task to image id to the value that is ranked."""


@dataclass(frozen=True)
class Ordered:
    """A worklist's order.

    Args:
        images: ids, the first to read first.
        ranks: 0 to 1 by image id; images without one come last, in the order of their names.
        notes: what the reader should know.
    """

    images: tuple[str, ...]
    ranks: Mapping[str, float]
    notes: tuple[str, ...] = ()


def put_in_order(images: Sequence[str], order: OrderName, scores: CaseScores, seed: int) -> Ordered:
    """Put studies in an order.

    Args:
        images: ids.
        order: `first` by name, as people count (2 before 10); `random`, the same for the same seed, and a study that
            comes or goes moves no other; `most_anomalous` by the mean over the tasks of the rank of the score;
            `most_uncertain` likewise of the uncertainty; `most_disagreement` by the largest minus the smallest rank of
            the score over the tasks.
        scores: of the images; one without is left out or empty.
        seed: of `random`.
    """
    listed = sorted(images, key=natural_key)
    if order == "first":
        return Ordered(tuple(listed), {})
    if order == "random":
        return Ordered(tuple(sorted(listed, key=lambda image: _draw(image, seed))), {})
    return ORDERINGS[order](listed, {image: scores.get(image, {}) for image in listed})


def natural_key(image: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts names as people count: `scan2` before `scan10`."""
    parts = re.findall(r"\d+|\D+", image.casefold())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], image


def _most_anomalous(images: list[str], scores: CaseScores) -> Ordered:
    values, notes = _comparable_scores(scores)
    ranks = {image: float(np.mean(of_tasks)) for image, of_tasks in _ranks(values).items()}
    return _by_rank(images, ranks, (*_unscored(images, ranks, "has no scores", SCORE_THEM), *notes))


def _most_uncertain(images: list[str], scores: CaseScores) -> Ordered:
    values: TaskValues = defaultdict(dict)
    for image, said in scores.items():
        for task, score in said.items():
            if score.uncertainty is not None:
                values[task][image] = score.uncertainty
    ranks = {image: float(np.mean(of_tasks)) for image, of_tasks in _ranks(values).items()}
    remedy = "Score them with a method that tells its uncertainty, such as few_shot_localization."
    return _by_rank(images, ranks, _unscored(images, ranks, "has no uncertainty", remedy))


def _most_disagreement(images: list[str], scores: CaseScores) -> Ordered:
    values, notes = _comparable_scores(scores)
    ranks = {image: max(found) - min(found) for image, found in _ranks(values).items() if len(found) > 1}
    missing = _unscored(images, ranks, "was not scored by two methods", "Score them with a second method.")
    return _by_rank(images, ranks, (*missing, *notes))


SCORE_THEM = "Score the unscored studies with a method."

ORDERINGS: dict[str, Callable[[list[str], CaseScores], Ordered]] = {
    "most_anomalous": _most_anomalous,
    "most_uncertain": _most_uncertain,
    "most_disagreement": _most_disagreement,
}


def _comparable_scores(scores: CaseScores) -> tuple[TaskValues, tuple[str, ...]]:
    """The value of each task that compares best between images: the calibrated one where every image has it."""
    by_task: dict[str, dict[str, StudyScore]] = defaultdict(dict)
    for image, said in scores.items():
        for task, score in said.items():
            by_task[task][image] = score
    values: TaskValues = {}
    uncalibrated = []
    for task, of_images in sorted(by_task.items()):
        relative = {image: score.relative for image, score in of_images.items() if score.relative is not None}
        if len(relative) == len(of_images):
            values[task] = relative
        else:
            values[task] = {image: score.image_score for image, score in of_images.items()}
            uncalibrated.append(task)
    if not uncalibrated:
        return values, ()
    return values, (
        f"The scores of {', '.join(uncalibrated)} are not calibrated: they compare within an image and only roughly "
        "between images. Train a model on healthy studies for scores that compare.",
    )


def _ranks(values: TaskValues) -> dict[str, list[float]]:
    """Image id to its ranks, one for each task that has a value of it."""
    ranks: dict[str, list[float]] = defaultdict(list)
    for of_images in values.values():
        places = (rankdata(list(of_images.values())) - 0.5) / len(of_images)
        for image, place in zip(of_images, places, strict=True):
            ranks[image].append(float(place))
    return ranks


def _by_rank(images: list[str], ranks: Mapping[str, float], notes: tuple[str, ...]) -> Ordered:
    # Sorting is stable: equal ranks, and those without one, keep the order of their names.
    return Ordered(tuple(sorted(images, key=lambda image: -ranks.get(image, -1.0))), ranks, notes)


def _unscored(images: list[str], ranks: Mapping[str, float], lack: str, remedy: str) -> tuple[str, ...]:
    missing = sum(image not in ranks for image in images)
    if not missing:
        return ()
    plural = lack if missing == 1 else lack.replace("has ", "have ").replace("was ", "were ")
    comes = "comes" if missing == 1 else "come"
    return (f"{missing} of {len(images)} cases {plural} and {comes} last. {remedy}",)


def _draw(image: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{image}".encode("utf-8", "surrogateescape")).digest()
