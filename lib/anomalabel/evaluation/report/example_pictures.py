"""The picture grid: image, heatmap over it, and boxes true and found, as in the papers' figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.report.content import ReportExample
from anomalabel.evaluation.report.drawing import Picture, style, svg_uri
from anomalabel.evaluation.report.wording import counted
from anomalabel.explain.overlay import COLOUR_MAP, OPACITY, SHOWN_BOXES

TRUE_COLOUR, FOUND_COLOUR = "#56B4E9", "#E69F00"
UNSEEN_COLOUR = "#5b7a99"
PANEL_INCHES, TITLE_INCHES, DPI, JPEG_QUALITY = 3.0, 0.24, 110, 88
OUTLINE_GRID = 440
"""Small images are drawn on a grid this large, so that an outline is no pixel thick."""

OUTLINE_SHARE = 220
"""An outline is this part of the image's longer side thick."""

SCALE_PERCENTILES = (1.0, 99.8)


@dataclass(frozen=True)
class ExampleRow:
    """One row of the grid: what the text beside the pictures says, and the pictures."""

    example: ReportExample
    verdict: str
    correct: bool
    places: str
    picture: Picture


def example_rows(examples: Sequence[ReportExample]) -> tuple[ExampleRow, ...]:
    """A row of three panels for each example; all heatmaps share one scale, so that rows can be compared."""
    scale = heatmap_scale(examples)
    return tuple(_row(example, scale) for example in examples)


def heatmap_scale(examples: Sequence[ReportExample]) -> Normalize:
    """The common colour scale: from a low to a high percentile of all map values shown."""
    seen = [example.anomaly_map[np.isfinite(example.anomaly_map)] for example in examples]
    values = np.concatenate(seen) if seen else np.zeros(0)
    if not values.size:
        return Normalize(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(values, SCALE_PERCENTILES))
    return Normalize(low, high if high > low else low + 1.0)


def scale_picture(examples: Sequence[ReportExample]) -> Picture:
    """The colour bar of the grid, with the pixel threshold where all examples share one."""
    scale = heatmap_scale(examples)
    thresholds = {example.pixel_threshold for example in examples}
    with style(axes__grid=False):
        figure = Figure(figsize=(4.6, 0.75), layout="constrained")
        axes = figure.subplots()
        bar = figure.colorbar(ScalarMappable(scale, COLOUR_MAP), cax=axes, orientation="horizontal")
        bar.set_label("Map value (same scale in all rows)")
        for threshold in thresholds if len(thresholds) == 1 else ():
            if scale.vmin is not None and scale.vmax is not None and scale.vmin <= threshold <= scale.vmax:
                bar.ax.axvline(threshold, color="white", linewidth=3)
                bar.ax.axvline(threshold, color="black", linewidth=1.2, linestyle="--")
        source = svg_uri(figure)
    alternative = f"Colour bar of the heatmaps from {scale.vmin:.3g} (dark) to {scale.vmax:.3g} (bright)."
    return Picture(source, alternative, "")


def verdict(example: ReportExample) -> str:
    """What is true and what the method said, in words."""
    truth = "sick" if example.abnormal else "healthy"
    if example.called_abnormal is None:
        return f"{truth}, not called: no threshold"
    called = "abnormal" if example.called_abnormal else "normal"
    outcomes = ("found", "missed") if example.abnormal else ("false alarm", "right")
    return f"{truth}, called {called}: {outcomes[not example.called_abnormal]}"


def _row(example: ReportExample, scale: Normalize) -> ExampleRow:
    height, width = example.image.shape
    panel = PANEL_INCHES * min(max(height / width, 0.4), 1.6)
    figure_height = panel + TITLE_INCHES
    with style(axes__grid=False, font__size=9):
        figure = Figure(figsize=(3 * PANEL_INCHES, figure_height))
        panels = [
            figure.add_axes((column / 3 + 0.004, 0.0, 1 / 3 - 0.008, panel / figure_height)) for column in range(3)
        ]
        for axes, title in zip(panels, ("Image", "Heatmap", "Boxes"), strict=True):
            axes.imshow(example.image, cmap="gray", vmin=0, vmax=1)
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
        _draw_heatmap(panels[1], example, scale)
        _draw_truth(panels[2], example)
        _draw_boxes(panels[2], example.found[:SHOWN_BOXES], FOUND_COLOUR, "--")
        stream = io.BytesIO()
        figure.savefig(
            stream, format="jpg", dpi=DPI, pil_kwargs={"quality": JPEG_QUALITY, "subsampling": 0, "optimize": True}
        )
    source = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return ExampleRow(
        example,
        verdict(example),
        example.called_abnormal in {None, example.abnormal},
        _boxes_in_words(example),
        Picture(source, f"{example.identity}: image, heatmap over it, {_boxes_in_words(example)}.", ""),
    )


def _draw_heatmap(axes: Axes, example: ReportExample, scale: Normalize) -> None:
    """Colour what was seen, grey-blue what was not, and a line where the map reaches the pixel threshold."""
    seen = np.isfinite(example.anomaly_map)
    axes.imshow(np.ma.masked_where(~seen, example.anomaly_map), cmap=COLOUR_MAP, norm=scale, alpha=OPACITY)
    axes.imshow(np.ma.masked_where(seen, seen), cmap=ListedColormap([UNSEEN_COLOUR]), alpha=OPACITY, vmin=0, vmax=1)
    _draw_outline(axes, seen & (example.anomaly_map >= example.pixel_threshold), "white")


def _draw_truth(axes: Axes, example: ReportExample) -> None:
    if example.lesion is not None:
        _draw_outline(axes, example.lesion, TRUE_COLOUR)
    _draw_boxes(axes, example.true_boxes or (), TRUE_COLOUR, "-")


def _draw_outline(axes: Axes, region: NDArray[np.bool_], colour: str) -> None:
    """Colour the rim of a region; unlike a traced contour this takes no longer where a region is scattered pixels."""
    height, width = region.shape
    factor = max(1, round(OUTLINE_GRID / max(height, width)))
    fine = region.repeat(factor, axis=0).repeat(factor, axis=1)
    thickness = max(1, round(max(fine.shape) / OUTLINE_SHARE))
    rim = fine & ~binary_erosion(fine, iterations=thickness, border_value=1)
    place = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(np.ma.masked_where(~rim, rim), cmap=ListedColormap([colour]), vmin=0, vmax=1, extent=place)


def _draw_boxes(axes: Axes, boxes: Sequence[Box], colour: str, style: str) -> None:
    for box in boxes:
        (top, left), (bottom, right) = box.low, box.high
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5),
                right - left + 1,
                bottom - top + 1,
                fill=False,
                edgecolor=colour,
                linestyle=style,
                linewidth=1.8,
            )
        )


def _boxes_in_words(example: ReportExample) -> str:
    true = (
        "place of the disease unknown" if example.true_boxes is None else counted(len(example.true_boxes), "true box")
    )
    more = f" ({SHOWN_BOXES} shown)" if len(example.found) > SHOWN_BOXES else ""
    return f"{true}, {len(example.found)} found{more}"
