"""Whether two methods differ on the same cases: paired t, Wilcoxon and DeLong tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from anomalabel.evaluation.cases import Thresholds
from anomalabel.evaluation.delong import compare_aurocs
from anomalabel.evaluation.metrics.compute import compute_metrics, resampling_unit
from anomalabel.evaluation.metrics.ranking import Numbers
from anomalabel.evaluation.metrics.summary import CaseSummary

DRAW_METRICS = ("image_auroc", "pixel_auroc", "pixel_dice")
"""Compared draw by draw, where there are at least two draws."""

IMAGE_METRICS: dict[str, Callable[[CaseSummary], float | None]] = {
    "pixel_auroc": lambda case: case.pixels.auroc if case.pixels else None,
    "pixel_dice": lambda case: case.pixels.dice if case.pixels else None,
}
"""Compared image by image, of abnormal images with a mask, where there is one draw."""

FEWEST_PAIRS = 5
"""Below, a t test takes chance for certainty and a Wilcoxon test cannot reach any level in use."""

RELATIVE_SPREAD_TOLERANCE = 1e-12
"""Differences that spread less than this share of the values are equal but for rounding."""

Draws = Sequence[Sequence[CaseSummary]]
TestName = Literal["paired t", "Wilcoxon signed-rank", "DeLong"]
TestOutcome = tuple[float | None, float | None, str]


@dataclass(frozen=True)
class PairedTest:
    """A two-sided test of the difference between two methods, paired by what both were measured on.

    Args:
        test: "paired t", "Wilcoxon signed-rank" or "DeLong".
        metric: what is compared.
        unit: one pair's unit: "draw", "patient" (an image where no patient is known), or "image" (DeLong's).
        draw: number of the draw, from 0, for a test made on each draw by itself; None otherwise.
        n: pairs.
        first: mean of the first method over the pairs (DeLong: its AUROC); None without pairs.
        second: likewise.
        statistic: t, Wilcoxon's smaller rank sum, or DeLong's z; larger than 0 for t and z where the first is larger.
        p_value: None where not computable; see `reason`. Not corrected for making several tests.
        reason: why there is no p value, or "".
    """

    test: TestName
    metric: str
    unit: Literal["draw", "patient", "image"]
    draw: int | None
    n: int
    first: float | None
    second: float | None
    statistic: float | None
    p_value: float | None
    reason: str = ""


def compare_methods(
    first: Draws, second: Draws, first_thresholds: Sequence[Thresholds], second_thresholds: Sequence[Thresholds]
) -> tuple[PairedTest, ...]:
    """All tests between two methods.

    With two draws or more the pairs of t and Wilcoxon are draws (`DRAW_METRICS`): they tell what other shots would
    change. With one draw the pairs are patients (`IMAGE_METRICS`, averaged over a patient's images): they tell what
    other patients would change. DeLong compares the image AUROCs of each draw by itself.

    Args:
        first: case summaries of each draw; only cases that both methods have in a draw are compared.
        second: likewise, draw by draw with the same shots.
        first_thresholds: one per draw.
        second_thresholds: likewise.
    """
    pairs = [_common(ours, theirs) for ours, theirs in zip(first, second, strict=True)]
    tests: list[PairedTest] = []
    if len(pairs) >= 2:
        ours = [compute_metrics(cases, cuts) for (cases, _), cuts in zip(pairs, first_thresholds, strict=True)]
        theirs = [compute_metrics(cases, cuts) for (_, cases), cuts in zip(pairs, second_thresholds, strict=True)]
        for metric in DRAW_METRICS:
            values = [(a[metric], b[metric]) for a, b in zip(ours, theirs, strict=True)]
            tests += _both_tests(metric, "draw", values)
    else:
        for metric, measure in IMAGE_METRICS.items():
            tests += _both_tests(metric, "patient", [pair for cases in pairs for pair in _by_patient(*cases, measure)])
    tests += [_delong(number, *cases) for number, cases in enumerate(pairs)]
    return tuple(tests)


def paired_t(first: Numbers, second: Numbers) -> TestOutcome:
    """Statistic, two-sided p value and, where there is none, the reason; (n,) values of either method."""
    difference = first - second
    if len(difference) < FEWEST_PAIRS:
        return None, None, f"fewer than {FEWEST_PAIRS} pairs"
    if difference.std() <= RELATIVE_SPREAD_TOLERANCE * max(np.abs(first).max(), np.abs(second).max()):
        return None, None, "all differences are equal"
    result = stats.ttest_rel(first, second)
    return float(result.statistic), float(result.pvalue), ""


def wilcoxon(first: Numbers, second: Numbers) -> TestOutcome:
    """Like `paired_t`. Pairs without a difference are dropped; with n pairs no p value is below 2 / 2^n (5: 0.0625)."""
    difference = first - second
    if len(difference) < FEWEST_PAIRS:
        return None, None, f"fewer than {FEWEST_PAIRS} pairs"
    difference = difference[difference != 0]
    if not len(difference):
        return None, None, "no pair differs"
    result = stats.wilcoxon(difference)
    return float(result.statistic), float(result.pvalue), ""


def _common(first: Sequence[CaseSummary], second: Sequence[CaseSummary]) -> tuple[list[CaseSummary], list[CaseSummary]]:
    """Cases of both lists in the same order."""
    theirs = {case.identity: case for case in second}
    shared = [case for case in first if case.identity in theirs]
    return shared, [theirs[case.identity] for case in shared]


def _by_patient(
    first: Sequence[CaseSummary], second: Sequence[CaseSummary], measure: Callable[[CaseSummary], float | None]
) -> list[tuple[float, float]]:
    """Means over each patient's images in which both methods have a value."""
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for ours, theirs in zip(first, second, strict=True):
        pair = measure(ours), measure(theirs)
        if pair[0] is not None and pair[1] is not None:
            values.setdefault(resampling_unit(ours), []).append((pair[0], pair[1]))
    return [(float(ours), float(theirs)) for ours, theirs in (np.mean(pairs, axis=0) for pairs in values.values())]


def _both_tests(
    metric: str, unit: Literal["draw", "patient"], pairs: Sequence[tuple[float | None, float | None]]
) -> list[PairedTest]:
    values = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
    first, second = values.T
    mean, other_mean = (float(first.mean()), float(second.mean())) if len(values) else (None, None)
    outcomes: tuple[tuple[TestName, TestOutcome], ...] = (
        ("paired t", paired_t(first, second)),
        ("Wilcoxon signed-rank", wilcoxon(first, second)),
    )
    return [
        PairedTest(name, metric, unit, None, len(values), mean, other_mean, statistic, p_value, reason)
        for name, (statistic, p_value, reason) in outcomes
    ]


def _delong(draw: int, first: Sequence[CaseSummary], second: Sequence[CaseSummary]) -> PairedTest:
    abnormal = np.array([case.abnormal for case in first], dtype=bool)
    scores = np.array([[case.image_score for case in cases] for cases in (first, second)], dtype=np.float64)
    if min(abnormal.sum(), (~abnormal).sum()) < 2:
        reason = "fewer than two abnormal or two normal images"
        return PairedTest("DeLong", "image_auroc", "image", draw, len(first), None, None, None, None, reason)
    result = compare_aurocs(abnormal, scores[0], scores[1])
    reason = "" if result.z is not None else "the difference has no variance"
    return PairedTest(
        "DeLong", "image_auroc", "image", draw, len(first), *result.aurocs, result.z, result.p_value, reason
    )
