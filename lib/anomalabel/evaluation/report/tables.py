"""Estimates as the rows and cells of tables: every number as text, every missing one with its reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from anomalabel.evaluation.cases import Estimate
from anomalabel.evaluation.report.content import MethodResult, ReportContent, SetFacts, ShotResult
from anomalabel.evaluation.report.glossary import (
    BY_KEY,
    HEADLINE_KEYS,
    METRICS,
    ORACLE_PREFIX,
    Level,
    Metric,
    Need,
    Unit,
    metric_named,
)

ORACLE_TITLE = "Oracle numbers: tuned on the test images, upper bounds and no results"
SHOTS_SIDE_BY_SIDE = 5
"""More columns than this do not fit a printed page."""

SMALLEST_SHOWN_P = 0.001
NO_VALUE = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One metric at one number of shots: texts, or the reason why there is no number.

    The standard deviation is empty with fewer than two draws.
    """

    mean: str = ""
    std: str = ""
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """One metric: key in metrics.json, label, arrow to the better end, images it is of, a cell per number of shots."""

    key: str
    label: str
    arrow: str
    count: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class MetricTable:
    """Rows of one level of one method, with the heads of the columns ("16 shots, 5 draws")."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    oracle: bool = False

    @property
    def common_reason(self) -> str:
        """The one reason why no cell at all has a number, "" where a number is there or reasons differ."""
        reasons = {cell.reason for row in self.rows for cell in row.cells}
        return reasons.pop() if len(reasons) == 1 else ""


LEVEL_TITLES: dict[Level, str] = {
    "image": "Image level: are sick images called abnormal, and healthy ones normal?",
    "pixel": "Pixel level: is the heatmap where the disease is?",
    "finding": "Finding level: do the boxes meet the disease?",
}


def metric_tables(content: ReportContent, method: MethodResult) -> tuple[MetricTable, ...]:
    """Tables of one method, by level, then metrics this page has no words for, then oracle numbers.

    A level without any number is there all the same, with the reason.
    """
    present = _keys(method)
    tables: list[MetricTable] = []
    for level, title in LEVEL_TITLES.items():
        keys = [metric.key for metric in METRICS if metric.level == level and metric.key in present]
        tables += _tables(title, keys, content, method)
    others = sorted(key for key in present if key not in BY_KEY and not key.startswith(ORACLE_PREFIX))
    tables += _tables("Other numbers", others, content, method)
    oracles = sorted(key for key in present if key.startswith(ORACLE_PREFIX))
    tables += _tables(
        "Oracle numbers: tuned on the test images, upper bounds and no results", oracles, content, method, True
    )
    return tuple(tables)


def overview(content: ReportContent, methods: Sequence[MethodResult]) -> MetricTable:
    """The metrics that say most, methods side by side, each at its largest number of shots."""
    lasts = [method.shots[-1] for method in methods]
    rows = tuple(
        _row(key, content.facts, lasts)
        for key in HEADLINE_KEYS
        if any(value_of(shot.estimates.get(key)) is not None for shot in lasts)
    )
    heads = tuple(f"{method.name}, {head(shot)}" for method, shot in zip(methods, lasts, strict=True))
    return MetricTable(
        "The numbers that say most" + (", methods side by side" if len(methods) > 1 else ""), heads, rows
    )


def head(shot: ShotResult) -> str:
    """How a column is headed: "no shots", "16 shots, 5 draws"."""
    shots = "no shots" if shot.shots == 0 else f"{shot.shots} shot{'' if shot.shots == 1 else 's'}"
    return shots if len(shot.draws) < 2 else f"{shots}, {len(shot.draws)} draws"


def cell(metric: Metric | None, shot: ShotResult, key: str, facts: SetFacts) -> Cell:
    """The texts of one estimate; no NaN and no infinite number is ever shown as a number."""
    estimate = shot.estimates.get(key)
    mean = value_of(estimate)
    if estimate is None:
        return Cell(reason="not computed")
    if mean is None:
        return Cell(reason=f"not defined: {reason(metric, shot, facts)}")
    unit: Unit = "share" if metric is None else metric.unit
    defined = sum(_finite(draw) is not None for draw in estimate.draws)
    note = f" ({defined} of {len(estimate.draws)} draws)" if defined < len(estimate.draws) else ""
    std = _finite(estimate.std)
    low, high = (None, None) if estimate.ci95 is None else (_finite(end) for end in estimate.ci95)
    return Cell(
        mean=number(mean, unit) + note,
        std="" if std is None else number(std, unit),
        interval="no interval" if low is None or high is None else f"{number(low, unit)} to {number(high, unit)}",
    )


def value_of(estimate: Estimate | None) -> float | None:
    """The mean of an estimate, None where there is no finite one."""
    return None if estimate is None else _finite(estimate.mean)


def number(value: float, unit: Unit = "share") -> str:
    """A number as shown: three decimals, distances one, counts none."""
    decimals = {"share": 3, "correlation": 3, "pixels": 1, "count": 0}[unit]
    return f"{value:,.{decimals}f}"


def p_value(value: float | None) -> str:
    """A p value as shown, never as 0."""
    if value is None or not math.isfinite(value):
        return "not defined"
    return f"below {SMALLEST_SHOWN_P}" if value < SMALLEST_SHOWN_P else f"{value:.3f}"


def reason(metric: Metric | None, shot: ShotResult, facts: SetFacts) -> str:
    """Why a metric has no value on these images, as far as images and thresholds tell."""
    if metric is None:
        return "it has no value on these images"
    for missing, needs, words in (
        (facts.normal + facts.abnormal == 0, set(get_args(Need)), "no image was tested"),
        (facts.abnormal == 0, set(get_args(Need)) - {"healthy"}, "no sick image"),
        (facts.normal == 0, {"classes", "healthy"}, "no healthy image"),
        (facts.with_masks == 0, {"masks", "masked_sick"}, "no sick image has a mask"),
        (facts.with_boxes == 0, {"places", "sick_places"}, "no sick image has a box or mask"),
    ):
        if missing and metric.needs in needs:
            return words
    if metric.cut is not None and not any(math.isfinite(getattr(draw.thresholds, metric.cut)) for draw in shot.draws):
        return f"there is no {metric.cut} threshold"
    return "it has no value on these images"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _keys(method: MethodResult) -> set[str]:
    return {key for shot in method.shots for key in shot.estimates}


def _tables(
    title: str, keys: Sequence[str], content: ReportContent, method: MethodResult, oracle: bool = False
) -> Iterable[MetricTable]:
    """One table, or several below each other where there are many numbers of shots."""
    if not keys:
        return
    for start in range(0, len(method.shots), SHOTS_SIDE_BY_SIDE):
        shots = method.shots[start : start + SHOTS_SIDE_BY_SIDE]
        rows = tuple(_row(key, content.facts, shots) for key in keys)
        yield MetricTable(title, tuple(head(shot) for shot in shots), rows, oracle)


def _row(key: str, facts: SetFacts, shots: Sequence[ShotResult]) -> Row:
    metric = metric_named(key)
    lower = None if metric is None else metric.lower_is_better
    return Row(
        key=key,
        label=_label(key, metric),
        arrow="" if lower is None else ("↓" if lower else "↑"),
        count=_count(metric, facts),
        cells=tuple(cell(metric, shot, key, facts) for shot in shots),
    )


def _label(key: str, metric: Metric | None) -> str:
    if metric is None:
        return key
    return f"Best {metric.label} (oracle)" if key.startswith(ORACLE_PREFIX) else metric.label


def _count(metric: Metric | None, facts: SetFacts) -> str:
    """How many images a metric is of."""
    counts: dict[Need, str] = {
        "classes": f"{facts.normal + facts.abnormal:,}",
        "sick": f"{facts.abnormal:,}",
        "healthy": f"{facts.normal:,}",
        "masks": f"{facts.with_masks:,} + {facts.normal:,}",
        "masked_sick": f"{facts.with_masks:,}",
        "places": f"{facts.with_boxes:,} + {facts.normal:,}",
        "sick_places": f"{facts.with_boxes:,}",
    }
    return "" if metric is None else counts[metric.needs]
