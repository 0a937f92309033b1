"""Sliders, check boxes and legend of the shown result."""

from __future__ import annotations

import qt
from AnomaLabelLib.panel.comparison import BLENDED
from AnomaLabelLib.panel.panel_state import PanelState, ShownRun
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.texts import compare_texts
from AnomaLabelLib.scene.color_scale import Legend
from AnomaLabelLib.server.map_kinds import RECONSTRUCTION, SALIENCY, UNCERTAINTY

from .drawing import choose, fill, quietly, say, set_checked, set_value

LEGEND_SIZE = (380, 34)
BAR_HEIGHT = 14
MARGIN = 12


class HeatmapSection:
    """Draws the shown result's texts and controls."""

    def __init__(self, ui, presenter: Presenter) -> None:
        self._ui = ui
        self._presenter = presenter
        results = presenter.results
        ui.runCombo.currentTextChanged.connect(self._on_result)
        ui.deleteRunButton.clicked.connect(lambda _checked=False: results.delete_shown())
        for check in (ui.heatmapCheck, ui.unseenCheck, ui.boxesCheck):
            check.toggled.connect(self._on_visibility)
        ui.uncertaintyCheck.toggled.connect(results.show_uncertainty)
        self._instead = {SALIENCY: ui.saliencyCheck, RECONSTRUCTION: ui.reconstructionCheck}
        for kind, check in self._instead.items():
            check.toggled.connect(lambda checked, kind=kind: self._on_map(kind, checked))
        ui.opacitySlider.valueChanged.connect(results.set_opacity)
        ui.thresholdSlider.valueChanged.connect(results.set_threshold)
        ui.compareCombo.currentIndexChanged.connect(self._on_compare)
        ui.blendSlider.valueChanged.connect(results.set_blend)

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the section to a state; what did not change is left alone."""
        ui, run = self._ui, state.run
        if state.runs != before.runs or run is not before.run or state.case.hidden != before.case.hidden:
            self._draw_run(state, None if state.case.hidden else run, None if before.case.hidden else before.run)
        unhidden = state.case.hidden != before.case.hidden
        if state.legend is not before.legend or unhidden:
            _draw_legend(None if state.case.hidden else state.legend, ui.legendLabel, ui.legendNote)
        if state.uncertainty_legend is not before.uncertainty_legend or unhidden:
            shown = None if state.case.hidden else state.uncertainty_legend
            _draw_legend(shown, ui.uncertaintyLegendLabel, ui.uncertaintyLegendNote)
        if (state.runs, state.compared, state.case.hidden) != (before.runs, before.compared, before.case.hidden):
            fill(ui.compareCombo, compare_texts(state))
            ui.compareCombo.setEnabled(len(state.runs) > 1 and not state.case.hidden)
            choose(ui.compareCombo, state.compared)
            ui.blendSlider.setEnabled(state.compared == BLENDED)
        set_checked(ui.heatmapCheck, state.heatmap_visible)
        set_checked(ui.boxesCheck, state.boxes_visible)
        set_checked(ui.unseenCheck, state.unseen_visible)

    def _draw_run(self, state: PanelState, run: ShownRun | None, before: ShownRun | None) -> None:
        ui = self._ui
        fill(ui.runCombo, [name for _id, name in state.runs], "" if run is None else run.name)
        for widget in (ui.deleteRunButton, ui.runCombo, ui.opacitySlider, ui.thresholdSlider):
            widget.setEnabled(run is not None)
        say(ui.warningsLabel, "" if run is None else "\n".join(f"\u26a0 {warning}" for warning in run.warnings))
        for label, text in (
            (ui.unseenLabel, "" if run is None else run.unseen),
            (ui.modelLabel, "" if run is None else run.model),
            (ui.imageScoreLabel, "" if run is None else run.image_score),
            (ui.thresholdRuleLabel, "" if run is None else run.threshold_rule),
        ):
            say(label, text)
        maps = () if run is None else run.maps
        ui.uncertaintyCheck.setEnabled(UNCERTAINTY in maps)
        for kind, check in self._instead.items():
            check.setVisible(kind in maps)
        if run is None:
            return
        if before is None or run.id != before.id:
            self._set_up_threshold(run)
        set_value(ui.thresholdSlider, run.threshold)
        set_value(ui.opacitySlider, state.opacity)

    def _set_up_threshold(self, run: ShownRun) -> None:
        slider = self._ui.thresholdSlider
        with quietly(slider):
            slider.setDecimals(run.decimals)
            slider.setSingleStep(10.0**-run.decimals)
            slider.setRange(run.minimum, run.maximum)

    def _on_result(self, name):
        for run_id, run_name in self._presenter.state.runs:
            if run_name == name:
                self._presenter.results.show(run_id)

    def _on_visibility(self, _checked):
        self._presenter.results.set_visible(
            heatmap=self._ui.heatmapCheck.property("checked"),
            unseen=self._ui.unseenCheck.property("checked"),
            boxes=self._ui.boxesCheck.property("checked"),
        )

    def _on_map(self, kind, checked):
        """One map at a time stands in place of the heatmap."""
        for other, check in self._instead.items():
            if other != kind:
                set_checked(check, False)
        self._presenter.results.show_instead(kind if checked else "")

    def _on_compare(self, _place):
        # Read from the box: Qt 5 has the signal with a place and with a text.
        self._presenter.results.compare(self._ui.compareCombo.property("currentIndex"))


def _draw_legend(legend: Legend | None, bar, note) -> None:
    bar.setVisible(legend is not None)
    say(note, "" if legend is None else f"{legend.title}. {legend.note}".strip())
    if legend is not None:
        bar.setPixmap(legend_picture(legend))


def legend_picture(legend: Legend):
    """The colours from first to last with their values below, as a QPixmap."""
    width, height = LEGEND_SIZE
    picture = qt.QPixmap(width, height)
    picture.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(picture)
    length, count = width - 2 * MARGIN, len(legend.stops)
    for x in range(length):
        red, green, blue = (int(part) for part in legend.stops[x * count // length])
        painter.fillRect(MARGIN + x, 0, 1, BAR_HEIGHT, qt.QColor(red, green, blue))
    painter.setPen(qt.QColor("#555555"))
    for position, text in legend.ticks:
        center = MARGIN + round(position * length)
        left = min(max(0, center - 40), width - 80)
        alignment = 0x84 if left == center - 40 else 0x81 if left == 0 else 0x82
        painter.drawText(left, BAR_HEIGHT, 80, height - BAR_HEIGHT, alignment, text)
    painter.end()
    return picture
