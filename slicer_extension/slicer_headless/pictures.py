"""Pictures of what a reader has before the eyes: the slice views and the panel beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from .panel import application
from .slice_view import OffscreenSliceView, write_png

PANEL_WIDTH = 430
GAP = 4
HIGHEST = 1800
MARGIN = 24


def save_state(widget, views: Sequence[OffscreenSliceView], path: Path, tab: int | None = None) -> Path:
    """Write the slice views, one below the other, with the panel to their right.

    Args:
        widget: the module's panel.
        tab: of the panel, counted from 0; None leaves the one that is open.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    panel = panel_picture(widget, tab)
    drawn = [view.draw() for view in views]
    gap = np.full((GAP, drawn[0].shape[1], 3), 255, np.uint8)
    left = np.vstack([part for each in drawn for part in (each, gap)][:-1])
    height = max(panel.shape[0], left.shape[0])
    between = np.full((height, GAP, 3), 255, np.uint8)
    write_png(np.hstack([_padded(left, height), between, _padded(panel, height)]), path)
    return path


def panel_picture(widget, tab: int | None = None) -> np.ndarray:
    """The panel as (height, width, 3) uint8, as high as its contents need."""
    if tab is not None:
        widget.ui.tabs.setCurrentIndex(tab)
    widget.parent.resize(PANEL_WIDTH, HIGHEST)
    # A window that is never shown lays its contents out when it is drawn; wrapped texts need a second time.
    for _turn in range(2):
        widget.parent.grab()
        application().processEvents()
    widget.parent.resize(PANEL_WIDTH, _lowest(widget) + MARGIN)
    return widget_picture(widget.parent)


def widget_picture(shown: QtWidgets.QWidget) -> np.ndarray:
    """A window as it is drawn, (height, width, 3) uint8."""
    image = shown.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def _lowest(widget) -> int:
    """Where the contents of the open tab end, in pixels from the panel's top."""
    page = widget.ui.tabs.currentWidget()
    shown = [child for child in page.findChildren(QtWidgets.QWidget) if child.isVisibleTo(page)]
    return max(child.mapTo(widget.parent, QtCore.QPoint(0, child.height())).y() for child in shown)


def _padded(pixels: np.ndarray, height: int) -> np.ndarray:
    below = np.full((height - pixels.shape[0], *pixels.shape[1:]), 255, np.uint8)
    return np.vstack([pixels, below])
