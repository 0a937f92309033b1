"""Which colour a heatmap value has: the same in every case of a model where its report is calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import slicer

from ..server.report import Report
from ..translation import _

CALIBRATED_RANGE = 2.0
"""Of the threshold: where the last colour of a calibrated map lies, so that a faint finding looks faint."""

SMALLEST_SPAN = 1e-6
TICKS = 3


@dataclass(frozen=True)
class ColorScale:
    """Map values of the first and the last colour; what lies above keeps the last one.

    Args:
        fixed: whether the colours mean the same in every case of the model.
    """

    low: float
    high: float
    fixed: bool


@dataclass(frozen=True)
class Legend:
    """A colour bar as plain values.

    Args:
        stops: (N, 3) uint8 RGB, evenly spaced, lowest value first.
        ticks: (place on the bar from 0 to 1, text), lowest first.
        note: what may be compared by these colours, for people.
    """

    stops: np.ndarray
    ticks: tuple[tuple[float, str], ...]
    title: str
    note: str


def top_of(threshold: float) -> float:
    """The map value of the last colour, counted from a threshold.

    Twice a positive threshold. One at or below zero has no double, so its size is added: -2 gives 0, and the scale
    still depends on the threshold alone.
    """
    return threshold + (CALIBRATED_RANGE - 1) * max(abs(threshold), SMALLEST_SPAN)


def scale_of(report: Report) -> ColorScale:
    """From the method's threshold to twice that where it is calibrated, else to this map's own largest value."""
    low = report.threshold.value
    if report.calibrated:
        return ColorScale(low, top_of(low), fixed=True)
    return ColorScale(low, max(report.heatmap.maximum, low + _smallest_span(low)), fixed=False)


def legend(
    scale: ColorScale,
    table: slicer.vtkMRMLColorNode,
    title: str = "",
    note: str = "",
    shown_from: float | None = None,
) -> Legend:
    """The colour bar of a scale.

    Args:
        table: the colours that the scale is drawn in.
        title: over the bar; "" for the heatmap's own.
        note: "" for whether colours compare between cases.
        shown_from: leaves out the colours of smaller values, which no view shows.
    """
    colors = _colors(table)
    start = scale.low if shown_from is None else min(max(shown_from, scale.low), scale.high)
    first = int((start - scale.low) / (scale.high - scale.low) * len(colors))
    if not note:
        note = _("Same colours in every case of this model") if scale.fixed else _uncalibrated_note()
    return Legend(colors[min(first, len(colors) - 1) :], _ticks(start, scale), title or _("Anomaly"), note)


def _uncalibrated_note() -> str:
    return _("Not calibrated: colours compare within this image only")


def _ticks(start: float, scale: ColorScale) -> tuple[tuple[float, str], ...]:
    decimals = max(0, 1 - math.floor(math.log10(scale.high - start))) if scale.high > start else 2
    ticks = []
    for place in np.linspace(0.0, 1.0, TICKS):
        text = f"{start + place * (scale.high - start):.{decimals}f}"
        # Only a fixed scale has values above its last colour.
        is_open = scale.fixed and place == 1.0
        ticks.append((float(place), _("\u2265 {value}").format(value=text) if is_open else text))
    return tuple(ticks)


def _colors(table: slicer.vtkMRMLColorNode) -> np.ndarray:
    rows = np.empty((table.GetNumberOfColors(), 4))
    color = [0.0] * 4
    for place in range(len(rows)):
        table.GetColor(place, color)
        rows[place] = color
    return np.rint(255 * rows[:, :3]).astype(np.uint8)


def _smallest_span(value: float) -> float:
    """So that a window around a large value does not vanish in rounding."""
    return SMALLEST_SPAN * max(1.0, abs(value))
