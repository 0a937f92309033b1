"""A picture of what reconstruction does with one slice: what it looked at, hid, restored, and where it was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalabel.attention.clap import suspected_region
from anomalabel.config import ExtraMap
from anomalabel.explain.overlay import COLOUR_MAP, brightest, draw_boxes, finish, positions_through_peak
from anomalabel.finding import FindingsReport
from anomalabel.preprocessing.prepare import prepare_slice
from anomalabel.preprocessing.seen_image import SeenImage
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, slice_spacing_mm
from anomalabel.volume import FloatArray, Volume

SALIENCY_COLOURS = "viridis"
SALIENCY_OPACITY = 0.5
OUTLINE = "white"
PANEL_INCHES = 3.8
HEADING_INCHES = 0.9


def write_reconstruction_panel(
    path: Path,
    seen: SeenImage,
    anomaly_map: FloatArray,
    extra_maps: Mapping[ExtraMap, FloatArray],
    report: FindingsReport,
) -> None:
    """Write a PNG: image, saliency with the hidden region outlined, reconstruction, and error with the findings.

    Shown is the acquisition slice through the map's peak. Image and reconstruction have one grey scale, [0, 1]; a map
    that is not among `extra_maps` has no panel. The region is eq. 2 of clap.txt over the shown slice.

    Args:
        anomaly_map: (Z, Y, X), NaN = unseen, as all maps.
        extra_maps: on the same grid.

    Raises:
        OutputError: the file cannot be written.
    """
    affine_ras = seen.volume.affine_ras
    position = positions_through_peak(seen.volume, anomaly_map)[0]
    image = prepare_slice(extract_slice(seen.prepared.scaled, affine_ras, position), seen.config.preprocessing)
    shown = {name: extract_slice(values, affine_ras, position) for name, values in extra_maps.items()}
    row_mm, column_mm = slice_spacing_mm(affine_ras, position)
    count = 2 + len(shown)
    height = PANEL_INCHES * (image.shape[0] * row_mm) / (image.shape[1] * column_mm)
    figure = Figure(
        figsize=(PANEL_INCHES * count, min(height, 2 * PANEL_INCHES) + HEADING_INCHES),
        facecolor="black",
        layout="constrained",
    )
    panels = iter(figure.subplots(1, count, squeeze=False)[0])
    aspect = row_mm / column_mm
    title = "image" if position.plane == "image" else f"image, {position.plane} {position.index}"
    draw_grey(next(panels), image, title, aspect)
    if "saliency" in shown:
        deviations = seen.config.reconstruction.mosaic.threshold_sd
        draw_saliency(next(panels), image, shown["saliency"], deviations, aspect)
    if "reconstruction" in shown:
        draw_grey(next(panels), shown["reconstruction"], "healthy, as the model believes", aspect)
    draw_error(next(panels), seen.volume, anomaly_map, report, position, aspect)
    finish(figure, report, path)


def draw_grey(axes: Axes, image: FloatArray, title: str, aspect: float) -> None:
    """Draw a slice (H, W) in [0, 1]; `aspect` is a pixel's height over its width."""
    _titled(axes, title)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)


def draw_saliency(axes: Axes, image: FloatArray, saliency: FloatArray, deviations: float, aspect: float) -> None:
    """Draw saliency (H, W) over a slice; what lies `deviations` sd above its mean is outlined (clap.txt eq. 2)."""
    draw_grey(axes, image, "saliency; outlined: hidden from the model", aspect)
    if not np.isfinite(saliency).any():
        return
    axes.imshow(np.ma.masked_invalid(saliency), cmap=SALIENCY_COLOURS, alpha=SALIENCY_OPACITY, aspect=aspect)
    hidden = suspected_region(saliency, deviations)
    if hidden.any() and not hidden.all() and min(hidden.shape) > 1:
        axes.contour(hidden, levels=[0.5], colors=OUTLINE, linewidths=1.2)


def draw_error(
    axes: Axes, volume: Volume, anomaly_map: FloatArray, report: FindingsReport, position: SlicePosition, aspect: float
) -> None:
    """Draw a slice of the map (Z, Y, X), all of it; calibrated colours start at the healthy mean, the same for all."""
    _titled(axes, f"error; boxes: findings, above {report.threshold.value:.2g}")
    values = extract_slice(anomaly_map, volume.affine_ras, position)
    lowest = 0.0 if report.calibrated else report.heatmap.min
    shown = np.ma.masked_invalid(values)
    axes.imshow(shown, cmap=COLOUR_MAP, vmin=lowest, vmax=brightest(report), aspect=aspect)
    draw_boxes(axes, volume, report, position)


def _titled(axes: Axes, title: str) -> None:
    axes.set_axis_off()
    axes.set_title(title, color="white", fontsize=9)
