"""Thresholds from few held-out healthy images, with the false-positive rate that they can promise.

If a healthy image is as likely as any of n held-out healthy ones to get any place in their order, it lies above the
k-th smallest of their scores with a chance of at most (n + 1 - k) / (n + 1) (split conformal prediction). A rate a is
promised from the place ceil((n + 1)(1 - a)) on. With fewer than 2/a - 1 images (39 for 5 %) that place is the highest
score or beyond it. A highest score is no quantile but an accident of one image, and is never the threshold: then the
threshold lies between the two highest, or at the second one, and the promise is 2 / (n + 1).

That holds if the detector that judges a new image learned from none of the n. If each image was judged by the detector
of its fold, which learned from the others, the promise depends on who judges the new one:

- "lowest": all folds' detectors, the lowest of their scores counts. Being above then means being above by each of them,
  so each fold's own images bound the chance; with equal folds of m images so does jackknife-minmax, carried over to
  folds: (m + n - k) / (n + m), which for leave-one-out is the bound above (Barber, Candes, Ramdas and Tibshirani,
  Predictive inference with the jackknife+, 2021).
- "mean": all folds' detectors, and a score that never exceeds the highest of theirs, say of their averaged map. Being
  above then means being above by at least one: the sum over folds of each one's bound.
- "refitted": a detector that learned from all. Nothing is proven: the same paper shows detectors for which the plain
  jackknife is always wrong. Its bound of twice the rate (jackknife+) needs new images compared with each held-out one
  by that one's own detector.

- "chosen": one detector that learned from none of the n, but whose best state was chosen by them. Nothing is proven.

In the last four cases `expected` says what comes if the detectors judge alike, which is usual where leaving out a fold
changes little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anomalabel.errors import ConfigError, ModelError
from anomalabel.volume import FloatArray

JudgedBy = Literal["same", "lowest", "mean", "refitted", "chosen"]
"""Who judges new images, see above; "same" = the detector that judged the held-out ones and learned from none."""

MINIMUM_HEALTHY = 2
"""The quantile of one value is its minimum and maximum at once."""

PROFILE_LEVELS = 4096
"""Map values kept of each healthy image; 41 of them lie above its 99th percentile."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class ConformalThreshold:
    """An image threshold: scores above it are called abnormal.

    Args:
        value: of the score.
        quantile: of the held-out scores that it is, linearly interpolated, inside (0, 1).
        wanted: false-positive rate that was asked for.
        promise: chance, proven, that a healthy image like the held-out ones lies above; over the choice of all of
            them, not for one choice. 1 = nothing is proven.
        expected: what `promise` would be if all detectors judged alike; equal to it for "same".
        images: number of held-out healthy images.
        rule: all this in words.
    """

    value: float
    quantile: float
    wanted: float
    promise: float
    expected: float
    images: int
    rule: str

    @classmethod
    def of(
        cls, scores: Sequence[float], wanted: float, judged_by: JudgedBy = "same", folds: Sequence[int] = ()
    ) -> ConformalThreshold:
        """From the scores of held-out healthy images.

        Args:
            scores: at least two, of images that their detector did not learn from.
            wanted: false-positive rate, inside (0, 1).
            judged_by: who judges new images.
            folds: for "lowest" and "mean", which fold each image was judged in; drawn without looking at the images.

        Raises:
            ConfigError: the rate is out of range, or fewer than two images.
            ModelError: a score is not finite.
        """
        if not 0 < wanted < 1:
            raise ConfigError(
                f"The wanted false-positive rate is {wanted:g}.", "Give a number between 0 and 1, both excluded."
            )
        ordered = np.sort(_checked(scores))
        count = len(ordered)
        # The smallest score is no threshold either.
        place = max(count + 1 - math.floor((count + 1) * wanted + ROUNDING), 2)
        if place < count:
            quantile, value = (place - 1) / (count - 1), float(ordered[place - 1])
        else:
            quantile = max(1 - wanted, (count - 2) / (count - 1))
            value = float(np.quantile(ordered, quantile))
        above = count - min(place, count - 1)
        expected = (above + 1) / (count + 1)
        promise = _promise(above, count, judged_by, folds)
        rule = (
            f"image: {ordinal(100 * quantile)} percentile of the scores of {count} held-out healthy images, linearly "
            f"interpolated; {_in_words(promise, expected, judged_by)}"
        )
        if expected > wanted + ROUNDING:
            rule += f"; {_percent(wanted)} need {images_needed(wanted)} healthy images"
        return cls(value, quantile, wanted, promise, expected, count, rule)


@dataclass(frozen=True)
class PixelThreshold:
    """A map threshold: values above it belong to findings.

    Args:
        value: of the map.
        quantile: of held-out healthy map values, inside (0, 1).
        images: number of held-out healthy images.
        rule: in words. Pixels of an image are not exchangeable, so no rate is promised for the next image.
    """

    value: float
    quantile: float
    images: int
    rule: str

    @classmethod
    def of(cls, maps: Sequence[FloatArray], quantile: float) -> PixelThreshold:
        """From the maps of held-out healthy images, each image counting the same whatever its size.

        Args:
            maps: any shapes, NaN = unseen; images of which nothing was seen don't count.
            quantile: inside (0, 1).

        Raises:
            ConfigError: the quantile is out of range, or fewer than two images.
        """
        if not 0 < quantile < 1:
            raise ConfigError(f"The pixel quantile is {quantile:g}.", "Give a number between 0 and 1, both excluded.")
        profiles = [map_profile(one) for one in maps if np.isfinite(one).any()]
        _check_number(len(profiles))
        rule = (
            f"pixel: {ordinal(100 * quantile)} percentile of the map values of {len(profiles)} held-out healthy "
            "images, each image counting the same"
        )
        value = float(np.quantile(np.concatenate(profiles).astype(np.float64), quantile))
        return cls(value, quantile, len(profiles), rule)


def conformal_p_value(score: float, healthy_scores: Sequence[float]) -> float:
    """Share of healthy images, this one included, that score at least as high: (1 + #{>=}) / (n + 1).

    For a healthy image it is at most p with a chance of at most p, if one detector that learned from none of them gave
    all scores.

    Raises:
        ConfigError: fewer than two healthy scores.
        ModelError: a healthy score is not finite.
    """
    healthy = _checked(healthy_scores)
    return (1 + int(np.count_nonzero(healthy >= score))) / (len(healthy) + 1)


def images_needed(wanted: float) -> int:
    """How many held-out healthy images promise a false-positive rate below their highest score."""
    return max(math.ceil(2 / wanted - ROUNDING) - 1, MINIMUM_HEALTHY + 1)


def map_profile(anomaly_map: FloatArray) -> FloatArray:
    """A map's seen values as a fixed number of quantiles, so that a volume weighs as much as a slice.

    Args:
        anomaly_map: any shape, NaN = unseen, at least one seen.

    Returns:
        (PROFILE_LEVELS,) float32, evenly spaced quantiles, increasing.
    """
    levels = (np.arange(PROFILE_LEVELS) + 0.5) / PROFILE_LEVELS
    # As np.quantile interpolates, which takes a thousand times as long for so many levels.
    ordered = np.sort(anomaly_map[np.isfinite(anomaly_map)])
    return np.interp(levels * (ordered.size - 1), np.arange(ordered.size), ordered).astype(np.float32)


def ordinal(number: float) -> str:
    """ "95th"; 96.774 becomes "96.77th"."""
    text = f"{round(number, 2):g}"
    whole = "." not in text and text[-2:] not in {"11", "12", "13"}
    return text + ({"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th") if whole else "th")


def _promise(above: int, count: int, judged_by: JudgedBy, folds: Sequence[int]) -> float:
    """Proven chance that a healthy image lies above a threshold which at most `above` of `count` scores exceed."""
    if judged_by == "same":
        return (above + 1) / (count + 1)
    if judged_by in {"refitted", "chosen"}:
        return 1.0
    sizes = list(Counter(folds).values())
    if sum(sizes) != count:
        raise ConfigError(f"{count} scores came with {sum(sizes)} fold numbers.", "Give the fold of each score.")
    of_folds = [(min(above, size) + 1) / (size + 1) for size in sizes]
    if judged_by == "mean":
        return min(1.0, sum(of_folds))
    alike = (sizes[0] + above) / (sizes[0] + count) if len(set(sizes)) == 1 else 1.0
    return min(*of_folds, alike)


def _in_words(promise: float, expected: float, judged_by: JudgedBy) -> str:
    proven = f"at most {_percent(promise)} false positives are promised"
    if judged_by == "same":
        return f"{proven}, for healthy images like these"
    if promise >= 1:
        proven = "none is promised"
    reason = (
        "the model was chosen by them"
        if judged_by == "chosen"
        else "each was judged by a model that learned from the others"
    )
    return f"{_percent(expected)} of healthy images like these are expected to lie above ({proven}, since {reason})"


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _checked(scores: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    _check_number(len(values))
    if not np.isfinite(values).all():
        raise ModelError(
            f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} held-out healthy images have no finite score.",
            "Look at these images and train again.",
        )
    return values


def _check_number(count: int) -> None:
    if count < MINIMUM_HEALTHY:
        raise ConfigError(
            f"A threshold needs {MINIMUM_HEALTHY} held-out healthy images, {count} came.", "Give more healthy images."
        )
