from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.axes import Axes
from PIL import Image

from anomalabel.training.curves import SMOOTHING, draw_curves


def test_one_panel_a_phase_and_one_smoothed_line_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    plot = Axes.plot

    def listen(panel, steps, values, label, marker):
        lines.append((label, tuple(steps), tuple(values)))
        assert marker == "."
        return plot(panel, steps, values, label=label, marker=marker)

    monkeypatch.setattr(Axes, "plot", listen)
    history = [("distil", 0, {"imitation": 2.0}), ("distil", 1, {"imitation": 1.0}), ("align", 0, {"a": 3.0, "b": 4.0})]
    draw_curves(history, tmp_path / "curves.png")
    smoothed = SMOOTHING * 2 + (1 - SMOOTHING)
    assert lines == [("imitation", (0, 1), (2.0, pytest.approx(smoothed))), ("a", (0,), (3.0,)), ("b", (0,), (4.0,))]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 2 * 5 * 110
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 10


def test_without_smoothing_a_line_goes_through_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[tuple[float, ...]] = []
    plot = Axes.plot

    def listen(panel, steps, points, label, marker):
        values.append(tuple(points))
        return plot(panel, steps, points, label=label, marker=marker)

    monkeypatch.setattr(Axes, "plot", listen)
    draw_curves([("held out", step, {"total": 1.0 / step}) for step in (1, 2, 4)], tmp_path / "curves.png", 0.0)
    assert values == [(1.0, 0.5, 0.25)]


def test_a_training_without_steps_has_an_empty_picture(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 550
