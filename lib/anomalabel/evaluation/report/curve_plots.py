"""ROC, PR and FROC plots: the mean curve of each method over its draws, with the spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anomalabel.errors import writable
from anomalabel.evaluation.report.content import Curve, DrawCurves, MethodResult, ReportContent
from anomalabel.evaluation.report.drawing import Picture, look_of, style, svg_uri
from anomalabel.evaluation.report.glossary import BY_KEY
from anomalabel.evaluation.report.tables import head, value_of

GRID_POINTS = 201
FROC_LIMIT = 5.0
"""False positives per image up to which the FROC curve is drawn; nobody reads a method with more."""

FROC_AT_LEAST = 2.0
"""Drawn even where no method has that many, so that a method without any false positive has a line."""

FloatVector = NDArray[np.float64]


@dataclass(frozen=True)
class _CurveKind:
    """How one kind of curve is drawn."""

    title: str
    x_label: str
    y_label: str
    of: Callable[[DrawCurves], Curve | None]
    metric: str
    chance: bool = False
    limit: float = 1.0
    staircase: bool = False


CURVE_KINDS = (
    _CurveKind("ROC, images", "False positive rate", "True positive rate", lambda draw: draw.roc, "image_auroc", True),
    _CurveKind("Precision-recall, images", "Recall", "Precision", lambda draw: draw.pr, "image_auprc", staircase=True),
    _CurveKind(
        "ROC, pixels", "False positive rate", "True positive rate", lambda draw: draw.pixel_roc, "pixel_auroc", True
    ),
    _CurveKind(
        "Precision-recall, pixels", "Recall", "Precision", lambda draw: draw.pixel_pr, "pixel_auprc", staircase=True
    ),
    _CurveKind(
        "FROC, findings",
        "False positives per image",
        "Sensitivity",
        lambda draw: draw.froc,
        "finding_sensitivity_at_1_fp",
        limit=FROC_LIMIT,
    ),
)


def curve_pictures(content: ReportContent) -> tuple[Picture, ...]:
    """One plot for each kind of curve that any method has, each method at its largest number of shots."""
    return tuple(
        _curves(kind, content.methods)
        for kind in CURVE_KINDS
        if any(kind.of(draw.curves) is not None for method in content.methods for draw in method.shots[-1].draws)
    )


def mean_curve(
    curves: Sequence[Curve], limit: float, staircase: bool = False
) -> tuple[FloatVector, FloatVector, FloatVector]:
    """Mean and standard deviation of several curves at common x.

    Args:
        curves: at least one, x rising or falling; steps stay steps.
        staircase: y holds back to the point before, as precision does; otherwise points are joined by lines.
        limit: x runs from 0 to this, or to the larger of 2 and the largest x of any curve if that is smaller.

    Returns:
        x, mean and standard deviation (ddof 1; 0 of one curve), each (P,); beyond its last point a curve stays level,
        since a detector that has no more boxes finds no more.
    """
    end = min(limit, max(FROC_AT_LEAST, *(float(curve.x.max()) for curve in curves)))
    x = np.linspace(0, end, GRID_POINTS)
    heights = np.stack([_heights(curve, x, staircase) for curve in curves])
    spread = heights.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(x)
    return x, heights.mean(axis=0), spread


def _heights(curve: Curve, x: FloatVector, staircase: bool) -> FloatVector:
    xs, ys = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
    if xs[0] > xs[-1]:
        xs, ys = xs[::-1], ys[::-1]
    order = np.argsort(xs, kind="stable")
    xs, ys = xs[order], ys[order]
    if staircase:
        return ys[np.minimum(np.searchsorted(xs, x, side="left"), len(ys) - 1)]
    return np.interp(x, xs, ys)


def _curves(kind: _CurveKind, methods: Sequence[MethodResult]) -> Picture:
    with style():
        figure = Figure(figsize=(5.2, 4.6), layout="constrained")
        axes = figure.subplots()
        told = []
        right = 0.0
        for position, method in enumerate(methods):
            shot = method.shots[-1]
            drawn = [curve for draw in shot.draws if (curve := kind.of(draw.curves)) is not None and len(curve.x)]
            if not drawn:
                continue
            label = _curve_label(kind, method)
            told.append(label)
            right = max(right, _draw_curves(axes, drawn, kind, position, label))
        if kind.chance:
            axes.plot([0, 1], [0, 1], color="#8a94a1", linewidth=1, linestyle=(0, (2, 3)), label="guessing")
        axes.set(xlim=(-0.01 * right, right * 1.01 or 1), ylim=(-0.01, 1.02))
        axes.set(xlabel=kind.x_label, ylabel=kind.y_label, title=kind.title)
        axes.legend(loc="lower right" if kind.chance else "best")
        source = svg_uri(figure)
    several = any(len(method.shots[-1].draws) > 1 for method in methods)
    band = " Band: one SD over draws either way." if several else ""
    return Picture(
        source, f"{kind.title}: {kind.y_label} against {kind.x_label}. {'; '.join(told)}.", kind.title + "." + band
    )


def _curve_label(kind: _CurveKind, method: MethodResult) -> str:
    mean = value_of(method.shots[-1].estimates.get(kind.metric))
    name = writable(f"{method.name}, {head(method.shots[-1])}")
    short = "at 1 FP" if kind.metric.startswith("finding") else BY_KEY[kind.metric].label
    return name if mean is None else f"{name}: {short} {mean:.3f}"


def _draw_curves(axes: Axes, drawn: Sequence[Curve], kind: _CurveKind, position: int, label: str) -> float:
    """Draw one method and return where its curve ends."""
    look = look_of(position)
    x, mean, spread = mean_curve(drawn, kind.limit, kind.staircase)
    if len(drawn) > 1:
        low, high = np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
        axes.fill_between(x, low, high, color=look.colour, alpha=0.18, lw=0)
    axes.plot(x, mean, color=look.colour, linestyle=look.style, linewidth=2, label=label)
    return float(x[-1])
