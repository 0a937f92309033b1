"""The AnomaLabel module of 3D Slicer: draws the panel and hands every act on to `AnomaLabelLib.panel.presenter`."""

from __future__ import annotations

import qt
import slicer
from AnomaLabelLib.errors import PanelError
from AnomaLabelLib.panel.panel_state import Notice, PanelState, ShownRun
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.summary import trained_text
from AnomaLabelLib.server.address import DEFAULT_ADDRESS
from AnomaLabelLib.server.client import Client
from AnomaLabelLib.server.map_kinds import RECONSTRUCTION, SALIENCY, UNCERTAINTY
from AnomaLabelLib.server.parameters import RunParameters, prompts_from_text
from AnomaLabelLib.server.server_facts import ConfigFacts, ServerFacts
from AnomaLabelLib.translation import _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

ADDRESS_SETTING = "AnomaLabel/ServerAddress"
POLL_INTERVAL_MS = 30
COLUMN_WIDTHS = (120, 65, 60, 70, 45)
ERROR_STYLE = "background: #f8d7da; color: #58151c; border-radius: 4px; padding: 6px;"
PLAIN_STYLE = "padding: 2px;"


class AnomaLabel(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("AnomaLabel")
        self.parent.categories = [_("Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["The AnomaLabel developers"]
        self.parent.helpText = _(
            "Shows where an image departs from healthy anatomy, as a heatmap and boxes, by asking an AnomaLabel "
            "server. Images are sent to the server that you name and to nobody else. "
            "Research software, not for clinical use."
        )
        self.parent.acknowledgementText = _("Built on MONAI Label and 3D Slicer.")


class AnomaLabelWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel.

    Attributes:
        client_for: makes a client from an address.
    """

    client_for = Client

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/AnomaLabel.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        slice_logics = slicer.app.applicationLogic().GetSliceLogics
        self.presenter = Presenter(slicer.mrmlScene, self._draw, slice_logics, self.client_for)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MS)
        self._timer.timeout.connect(self.presenter.tick)
        self._drawn = PanelState()
        ui = self.ui
        self._map_checks = {
            UNCERTAINTY: ui.uncertaintyCheck,
            SALIENCY: ui.saliencyCheck,
            RECONSTRUCTION: ui.reconstructionCheck,
        }
        self.ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
        self.ui.serverAddress.setText(slicer.app.userSettings().value(ADDRESS_SETTING, DEFAULT_ADDRESS))
        for column, width in enumerate(COLUMN_WIDTHS):
            self.ui.findingsTable.setColumnWidth(column, width)
        self._connect_signals()
        for event in (slicer.mrmlScene.EndImportEvent, slicer.mrmlScene.EndCloseEvent):
            self.addObserver(slicer.mrmlScene, event, self._on_scene_changed)
        self.presenter.refresh_runs()

    def enter(self):
        """The user comes to this module."""
        self.presenter.refresh_runs()

    def cleanup(self):
        """Slicer ends or the module is loaded anew."""
        self.removeObservers()
        self._timer.stop()
        self.presenter.close()

    def _connect_signals(self):
        ui = self.ui
        ui.testConnectionButton.clicked.connect(self._on_connect)
        ui.serverAddress.returnPressed.connect(self._on_connect)
        ui.configCombo.currentTextChanged.connect(self._on_config)
        ui.taskCombo.currentTextChanged.connect(self._on_task)
        ui.volumeRadio.toggled.connect(self._on_source)
        ui.runButton.clicked.connect(self._on_run)
        ui.cancelButton.clicked.connect(self.presenter.cancel)
        ui.runCombo.currentTextChanged.connect(self._on_result)
        ui.deleteRunButton.clicked.connect(self.presenter.delete_shown_run)
        ui.heatmapCheck.toggled.connect(self._on_visibility)
        ui.unseenCheck.toggled.connect(self._on_visibility)
        ui.boxesCheck.toggled.connect(self._on_visibility)
        for kind, check in self._map_checks.items():
            check.toggled.connect(lambda checked, kind=kind: self._on_map(kind, checked))
        ui.opacitySlider.valueChanged.connect(self.presenter.set_opacity)
        ui.thresholdSlider.valueChanged.connect(self.presenter.set_threshold)
        ui.findingsTable.currentCellChanged.connect(self._on_finding)
        ui.findingsTable.cellClicked.connect(self._on_finding)

    def _on_connect(self):
        address = self.ui.serverAddress.property("text")
        slicer.app.userSettings().setValue(ADDRESS_SETTING, address)
        self.presenter.connect(address)

    def _on_config(self, _title):
        config = self._chosen_config()
        if config is not None:
            self.ui.positivePrompts.setPlainText("\n".join(config.positive))
            self.ui.negativePrompts.setPlainText("\n".join(config.negative))
        self._on_task("")

    def _on_task(self, _name):
        server, config = self.presenter.state.server, self._chosen_config()
        if server is None or config is None:
            return
        task = self.ui.taskCombo.property("currentText")
        learns = server.task(task).learns
        models = [model.name for model in server.trained_for(task, config.name)] if learns else server.backbones
        self._fill(self.ui.backboneCombo, models)
        for prompts in (self.ui.positivePrompts, self.ui.negativePrompts):
            prompts.setEnabled(not learns)
        self.ui.trainedLabel.setVisible(learns)
        self.ui.trainedLabel.setText(trained_text(server, task, config) if learns else "")

    def _on_source(self, _checked):
        from_scene = self.ui.volumeRadio.property("checked")
        self.ui.volumeSelector.setEnabled(from_scene)
        self.ui.studyCombo.setEnabled(not from_scene)

    def _on_run(self):
        try:
            parameters = self._parameters()
        except PanelError as error:
            self._show_notice(self.ui.noticeLabel, Notice(error.cause, error.remedy, is_error=True))
            return
        if self.ui.volumeRadio.property("checked"):
            self.presenter.run_on_volume(self.ui.volumeSelector.currentNode(), parameters)
        else:
            self.presenter.run_on_study(self.ui.studyCombo.property("currentText"), parameters)

    def _on_result(self, name):
        for run_id, run_name in self.presenter.state.runs:
            if run_name == name:
                self.presenter.show_run(run_id)

    def _on_visibility(self, _checked):
        self.presenter.set_visible(
            heatmap=self.ui.heatmapCheck.property("checked"),
            unseen=self.ui.unseenCheck.property("checked"),
            boxes=self.ui.boxesCheck.property("checked"),
        )

    def _on_map(self, kind, checked):
        """One map at a time stands in place of the heatmap."""
        for other, check in self._map_checks.items():
            if other != kind:
                check.blockSignals(True)
                check.setChecked(False)
                check.blockSignals(False)
        self.presenter.show_instead(kind if checked else "")

    def _on_finding(self, row, _column, _old_row=-1, _old_column=-1):
        self.presenter.jump_to_finding(row)

    def _on_scene_changed(self, _caller, _event):
        self.presenter.refresh_runs()

    def _chosen_config(self) -> ConfigFacts | None:
        server = self.presenter.state.server
        place = self.ui.configCombo.property("currentIndex")
        return server.configs[place] if server is not None and 0 <= place < len(server.configs) else None

    def _parameters(self) -> RunParameters:
        server, config = self.presenter.state.server, self._chosen_config()
        if server is None or config is None:
            raise PanelError(_("No server is connected."), _("Press Test connection first."))
        task = self.ui.taskCombo.property("currentText")
        model = self.ui.backboneCombo.property("currentText") or None
        facts = server.task(task)
        if facts.learns:
            return RunParameters(task, config.name, trained=model, maps=facts.maps)
        return RunParameters(
            task,
            config.name,
            backbone=model,
            maps=facts.maps,
            positive=prompts_from_text(self.ui.positivePrompts.property("plainText")),
            negative=prompts_from_text(self.ui.negativePrompts.property("plainText")),
        )

    def _draw(self, state: PanelState):
        """Bring the panel to a state; what did not change is left alone, so that nothing flickers."""
        before, self._drawn = self._drawn, state
        ui = self.ui
        if state.server is not before.server:
            self._draw_server(state.server)
        self._show_notice(ui.serverNotice, state.server_notice)
        self._show_notice(ui.noticeLabel, state.notice)
        for widget in (ui.testConnectionButton, ui.serverAddress):
            widget.setEnabled(not state.busy)
        ui.runButton.setEnabled(not state.busy and state.server is not None)
        ui.cancelButton.setEnabled(state.busy)
        self._draw_progress(state)
        if state.runs != before.runs or state.run is not before.run:
            self._draw_result(state, None if before.run is None else before.run.id)
        if state.busy:
            self._timer.start()
        else:
            self._timer.stop()

    def _draw_server(self, server: ServerFacts | None):
        if server is None:
            return
        ui = self.ui
        titles = [config.title for config in server.configs]
        self._fill(ui.taskCombo, server.tasks)
        self._fill(ui.studyCombo, server.studies)
        if self._fill(ui.configCombo, titles):
            self._on_config("")
        self._on_task("")

    def _draw_progress(self, state: PanelState):
        done, total = state.progress or (0, 0)
        self.ui.progressBar.setVisible(state.busy)
        # A range of 0 to 0 shows a bar that moves without saying how far.
        self.ui.progressBar.setRange(0, total)
        self.ui.progressBar.setValue(done)

    def _draw_result(self, state: PanelState, id_before: str | None):
        ui, run = self.ui, state.run
        self._fill(ui.runCombo, [name for _id, name in state.runs], "" if run is None else run.name)
        for widget in (ui.deleteRunButton, ui.runCombo, ui.opacitySlider, ui.thresholdSlider, ui.findingsTable):
            widget.setEnabled(run is not None)
        ui.warningsLabel.setVisible(run is not None and bool(run.warnings))
        ui.unseenLabel.setText("" if run is None else run.unseen)
        ui.modelLabel.setText("" if run is None else run.model)
        ui.imageScoreLabel.setVisible(run is not None and bool(run.image_score))
        ui.imageScoreLabel.setText("" if run is None else run.image_score)
        ui.thresholdRuleLabel.setText("" if run is None else run.threshold_rule)
        maps = () if run is None else run.maps
        ui.uncertaintyCheck.setEnabled(UNCERTAINTY in maps)
        for kind in (SALIENCY, RECONSTRUCTION):
            self._map_checks[kind].setVisible(kind in maps)
        if run is None:
            ui.findingsTable.setRowCount(0)
            return
        ui.warningsLabel.setText("\n".join(f"\u26a0 {warning}" for warning in run.warnings))
        if run.id != id_before:
            self._set_up_threshold(run)
            self._fill_findings(run)
        self._set_slider(ui.thresholdSlider, run.threshold)
        self._set_slider(ui.opacitySlider, state.opacity)

    def _fill_findings(self, run: ShownRun):
        table = self.ui.findingsTable
        table.blockSignals(True)
        table.setRowCount(len(run.findings))
        for row, finding in enumerate(run.findings):
            score = f"{finding.score:.{run.decimals}f}"
            unsure = "" if finding.uncertainty is None else f"{finding.uncertainty:.{run.decimals}f}"
            texts = (finding.label, score, unsure, f"{finding.volume_mm3:,.0f}", str(finding.peak_index[2]))
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.setCurrentCell(-1, -1)
        table.blockSignals(False)

    def _fill(self, combo, texts, chosen=None) -> bool:
        """Give a combo box new entries and keep its choice where it still exists; whether the choice changed."""
        before = combo.property("currentText")
        wanted = before if chosen is None else chosen
        texts = list(texts)
        combo.blockSignals(True)
        combo.clear()
        combo.addItems(texts)
        combo.setCurrentIndex(texts.index(wanted) if wanted in texts else 0 if texts else -1)
        combo.blockSignals(False)
        return combo.property("currentText") != before

    def _set_up_threshold(self, run: ShownRun):
        slider = self.ui.thresholdSlider
        slider.blockSignals(True)
        slider.setDecimals(run.decimals)
        slider.setSingleStep(10.0**-run.decimals)
        slider.setRange(run.minimum, run.maximum)
        slider.blockSignals(False)

    def _set_slider(self, slider, value: float):
        slider.blockSignals(True)
        slider.setValue(value)
        slider.blockSignals(False)

    def _show_notice(self, label, notice: Notice):
        label.setVisible(bool(notice.cause))
        label.setText(f"{notice.cause}\n{notice.remedy}".strip())
        label.setStyleSheet(ERROR_STYLE if notice.is_error else PLAIN_STYLE)
