"""Thresholds from healthy images that the method did not learn from, before any test image is seen.

Two quantiles of what the method says about those images, linearly interpolated, never the smallest or largest value:

- image threshold: by default the 95th percentile of their scores. With n images nobody can promise a false-positive
  rate below 1 / (n + 1): the next healthy image is as likely as any of them to score highest. The rule's text says so.
- pixel threshold: by default the 99th percentile of the map values of all of them, each image counting the same
  whatever its size. One in a hundred healthy pixels lies above: in a slice of 256 x 256 a patch of 26 x 26, which is
  smaller than most lesions that are annotated. A stricter quantile could not be estimated from few shots: four images
  of 14 x 14 patches hold 784 independent values, of which 8 lie above the 99th percentile and less than one above the
  99.9th.

Each image is judged by a detector built from the other ones, which knows fewer healthy images than the one that is
tested, so both thresholds are, if anything, a little too high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, Thresholds
from anomalabel.localization.conformal import MINIMUM_HEALTHY, ordinal
from anomalabel.volume import FloatArray

MAXIMUM_FOLDS = 8
UNDEFINED = math.nan


@dataclass(frozen=True)
class HealthyOutcome:
    """What a method says about a healthy image that it did not learn from.

    Args:
        score: of the image.
        profile: of its map, see `localization.conformal.map_profile`.
    """

    score: float
    profile: FloatArray


@dataclass(frozen=True)
class SelfCalibrated:
    """What a method that sets its own thresholds said of itself when it had learned.

    Args:
        thresholds: its own.
        description: see `detectors.base.DescribedDetector`, "" where it has none.
    """

    thresholds: Thresholds
    description: str = ""


@dataclass(frozen=True)
class Fold:
    """One division of the shots: numbers of those to learn from and of those to judge."""

    learnt: tuple[int, ...]
    judged: tuple[int, ...]


def folds_of(shots: Sequence[EvaluationCase], maximum: int = MAXIMUM_FOLDS) -> tuple[Fold, ...]:
    """Leave one out, or with more patients than `maximum` one group out; images of one patient stay together.

    Args:
        shots: an image without a patient is a patient of its own.

    Returns:
        At most `maximum` folds that judge each shot once; none where the shots come from a single patient.
    """
    patients: dict[str, list[int]] = {}
    for number, shot in enumerate(shots):
        patients.setdefault(f"image {number}" if shot.patient is None else f"patient {shot.patient}", []).append(number)
    groups: list[list[int]] = [[] for _ in range(min(maximum, len(patients)))]
    for place, numbers in enumerate(patients.values()):
        groups[place % len(groups)].extend(numbers)
    if len(groups) < MINIMUM_HEALTHY:
        return ()
    return tuple(
        Fold(tuple(number for number in range(len(shots)) if number not in judged), tuple(judged)) for judged in groups
    )


def thresholds_from(
    outcomes: Sequence[HealthyOutcome],
    image_quantile: float,
    pixel_quantile: float,
    probability: float | None = None,
    held_out: str = "",
) -> Thresholds:
    """Both thresholds, and the rule in words.

    Args:
        outcomes: of healthy images that the method did not learn from.
        image_quantile: of their scores, inside (0, 1).
        pixel_quantile: of their map values, inside (0, 1).
        probability: image threshold of a score that is a probability, for when there are not enough healthy images.
        held_out: how they were kept from the method, for the rule.

    Returns:
        NaN in place of a threshold that cannot be had; the rule says why.

    Raises:
        ConfigError: a quantile that would be the smallest or the largest value.
    """
    for name, quantile in (("image", image_quantile), ("pixel", pixel_quantile)):
        if not 0 < quantile < 1:
            raise ConfigError(f"The {name} quantile is {quantile:g}.", "Give a number between 0 and 1, both excluded.")
    count = len(outcomes)
    if count < MINIMUM_HEALTHY:
        return _without_healthy(count, probability)
    scores = np.array([outcome.score for outcome in outcomes])
    values = np.concatenate([outcome.profile for outcome in outcomes]).astype(np.float64)
    rule = (
        f"image: {ordinal(100 * image_quantile)} percentile of the scores of {count} held-out healthy images, linearly "
        f"interpolated, cannot promise less than 1/{count + 1} false positives; "
        f"pixel: {ordinal(100 * pixel_quantile)} percentile of their map values, each image counting the same"
    )
    return Thresholds(
        image=float(np.quantile(scores, image_quantile)),
        pixel=float(np.quantile(values, pixel_quantile)),
        rule=f"{rule}; {held_out}" if held_out else rule,
    )


def _without_healthy(count: int, probability: float | None) -> Thresholds:
    shortage = f"{count} held-out healthy images, {MINIMUM_HEALTHY} are needed"
    if probability is None:
        return Thresholds(UNDEFINED, UNDEFINED, f"no threshold: {shortage}")
    rule = f"image: probability {probability:g}, chosen without any image; pixel: no threshold, {shortage}"
    return Thresholds(probability, UNDEFINED, rule)
