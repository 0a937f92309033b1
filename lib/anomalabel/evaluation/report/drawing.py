"""What all plots of the report share: colours and styles that everybody can tell apart, and embedding as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

HEALTHY_COLOUR, SICK_COLOUR = "#0072B2", "#D55E00"
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, told apart by people with any colour blindness; styles differ too, for black and white."""

METHOD_STYLES = ("-", "--", "-.", ":")
METHOD_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dde2e8",
    "axes.axisbelow": True,
    "hatch.linewidth": 1.0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "svg.hashsalt": "anomalabel",
    "svg.fonttype": "path",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Picture:
    """An embedded picture: data URI, what it shows for people who cannot see it, and a caption."""

    source: str
    alternative: str
    caption: str


@dataclass(frozen=True)
class Look:
    """How a method's line is drawn in every plot."""

    colour: str
    style: str
    marker: str


def look_of(position: int) -> Look:
    """The look of the method at a position of the report, from 0."""
    return Look(
        METHOD_COLOURS[position % len(METHOD_COLOURS)],
        METHOD_STYLES[position % len(METHOD_STYLES)],
        METHOD_MARKERS[position % len(METHOD_MARKERS)],
    )


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Figures made and saved inside have the report's style; "axes.grid" is written axes__grid."""
    with mpl.rc_context(STYLE | {name.replace("__", "."): value for name, value in more.items()}):
        yield


def svg_uri(figure: Figure) -> str:
    """A figure as a data URI; the same figure gives the same text."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
