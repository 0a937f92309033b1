"""Draws the losses of a training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from anomalabel.training.checkpoint import HistoryEntry

SMOOTHING = 0.97

MARKED = 50
"""Points up to which each is marked: of a single one there is no line."""


def draw_curves(history: Sequence[HistoryEntry], path: Path, smoothing: float = SMOOTHING) -> None:
    """One panel per phase, one line per loss, as PNG; each point is mixed with those before it, 0 = not at all."""
    phases = list(dict.fromkeys(phase for phase, _, _ in history))
    figure, panels = pyplot.subplots(1, max(len(phases), 1), figsize=(5 * max(len(phases), 1), 4), squeeze=False)
    for panel, phase in zip(panels[0], phases, strict=False):
        lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for name, step, losses in history:
            if name == phase:
                for loss, value in losses.items():
                    before = lines[loss][-1][1] if lines[loss] else value
                    lines[loss].append((step, smoothing * before + (1 - smoothing) * value))
        for loss, points in lines.items():
            panel.plot(*zip(*points, strict=True), label=loss, marker="." if len(points) <= MARKED else None)
        panel.set(title=phase, xlabel="step", ylabel="loss")
        panel.legend(fontsize="small")
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
