"""The AnomaLabel module of 3D Slicer: puts the panel together and hands every act on to `AnomaLabelLib.panel`."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from AnomaLabelLib.panel.keys import KEYS
from AnomaLabelLib.panel.panel_state import PanelState
from AnomaLabelLib.panel.presenter import Presenter, make_client
from AnomaLabelLib.panel.texts import case_text
from AnomaLabelLib.self_test import run_module_tests
from AnomaLabelLib.server.settings import from_store, to_store
from AnomaLabelLib.translation import _
from AnomaLabelWidgets.ask_tab import AskTab
from AnomaLabelWidgets.cases_tab import CasesTab
from AnomaLabelWidgets.drawing import say, show_notice
from AnomaLabelWidgets.heatmap_section import HeatmapSection
from AnomaLabelWidgets.key_shortcuts import HelpCard, KeyShortcuts
from AnomaLabelWidgets.review_tab import ReviewTab
from AnomaLabelWidgets.segment_editor import open_segment_editor, picked_segment
from AnomaLabelWidgets.server_tab import ServerTab
from AnomaLabelWidgets.train_tab import TrainTab
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

FOLDER_NAME = "AnomaLabel"
POLL_INTERVAL_MS = 30
HEARTBEAT_MS = 1000


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
            "server, and keeps what readers decide. Images are sent to the server that you name and to nobody else. "
            "Research software, not for clinical use."
        )
        self.parent.acknowledgementText = _("Built on MONAI Label and 3D Slicer.")


class AnomaLabelWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel.

    Attributes:
        client_for: makes a client from an address and the user's settings.
    """

    client_for = staticmethod(make_client)

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/AnomaLabel.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        self.ui.volumeSelector.setMRMLScene(slicer.mrmlScene)
        store = slicer.app.userSettings()
        settings = from_store(store.value)
        # The panel's own id has to outlive a crash, so that an open case is still its own.
        to_store(settings, store.setValue)
        folder = Path(slicer.app.slicerUserSettingsFilePath).parent / FOLDER_NAME
        self._drawn = PanelState()
        self._parts = ()
        self.presenter = Presenter(
            slicer.mrmlScene,
            self._draw,
            folder,
            settings,
            lambda: slicer.app.applicationLogic().GetSliceLogics(),
            self.client_for,
        )
        self._timer = self._every(POLL_INTERVAL_MS, self.presenter.tick)
        self._heartbeat = self._every(HEARTBEAT_MS, self._on_heartbeat)
        self._build_parts(store)
        self._keys = None
        for event in (slicer.mrmlScene.EndImportEvent, slicer.mrmlScene.EndCloseEvent):
            self.addObserver(slicer.mrmlScene, event, self._on_scene_changed)
        self.presenter.results.refresh()
        self._heartbeat.start()

    def enter(self):
        """The user comes to this module: the keys are in force, and an open case of the last time is taken up."""
        if self._keys is None:
            self._keys = KeyShortcuts(self.layout.parentWidget().window(), self._commands())
        self._keys.set_enabled(True)
        self.presenter.results.refresh()
        self.presenter.correction.refresh()
        self.presenter.resume()

    def exit(self):
        """The user goes to another module: its keys are its own."""
        if self._keys is not None:
            self._keys.set_enabled(False)

    def cleanup(self):
        """Slicer ends or the module is loaded anew."""
        self.removeObservers()
        self._timer.stop()
        self._heartbeat.stop()
        if self._keys is not None:
            self._keys.close()
        self.presenter.close()

    def _build_parts(self, store):
        ui, presenter = self.ui, self.presenter
        self._ask = AskTab(ui, presenter)
        self._review = ReviewTab(ui, presenter, open_segment_editor, picked_segment)
        self._help = HelpCard(self.layout.parentWidget())
        cases = CasesTab(ui, presenter, self._scoring)
        server = ServerTab(ui, presenter, store.setValue)
        self._parts = (self._ask, self._review, HeatmapSection(ui, presenter), cases, TrainTab(ui, presenter), server)
        ui.cancelButton.clicked.connect(lambda _checked=False: presenter.cancel())
        ui.nextCaseButton.clicked.connect(lambda _checked=False: presenter.worklist.next())
        ui.previousCaseButton.clicked.connect(lambda _checked=False: presenter.worklist.previous())
        ui.keysButton.clicked.connect(lambda _checked=False: self.show_help())

    def act(self, command):
        """Do what a key does, by its command, see `AnomaLabelLib.panel.keys`."""
        self._commands()[command]()

    def _commands(self):
        """What each command of the keys does."""
        own = {"review.reject": self._review.reject, "help.toggle": self.show_help}
        return {each.command: own.get(each.command) or self._presenters(each.command) for each in KEYS}

    @property
    def help_card(self):
        """The window that lists the keys."""
        return self._help.dialog

    def show_help(self):
        """Show the card of keys, or hide it."""
        self._help.toggle()

    def _presenters(self, command):
        """The presenter's method of a command such as "review.accept"."""
        part, name = command.split(".")
        return getattr(getattr(self.presenter, part), name)

    def _scoring(self):
        """(task, params) with which the server scores its cases: as the Ask tab stands."""
        parameters = self.presenter.asking.parameters
        return None if parameters is None else (parameters.task, parameters.scoring_params())

    def _every(self, interval_ms, act):
        timer = qt.QTimer()
        timer.setInterval(interval_ms)
        timer.timeout.connect(act)
        return timer

    def _on_heartbeat(self):
        self.presenter.heartbeat()
        self._run_timer()

    def _on_scene_changed(self, _caller, _event):
        self.presenter.scene_changed()

    def _draw(self, state: PanelState):
        """Bring the panel to a state; what did not change is left alone, so that nothing flickers."""
        before, self._drawn = self._drawn, state
        ui = self.ui
        for part in self._parts:
            part.draw(state, before)
        show_notice(ui.noticeLabel, state.notice)
        show_notice(ui.outboxLabel, state.outbox.notice)
        say(ui.caseLabel, case_text(state))
        for button in (ui.nextCaseButton, ui.previousCaseButton):
            button.setEnabled(state.server is not None)
        ui.cancelButton.setVisible(state.busy)
        ui.cancelButton.setEnabled(state.busy)
        self._turn_tabs(state, before)
        done, total = state.progress or (0, 0)
        ui.progressBar.setVisible(state.busy)
        # A range of 0 to 0 shows a bar that moves without saying how far.
        ui.progressBar.setRange(0, total)
        ui.progressBar.setValue(done)
        if self._parts:
            self._run_timer()

    def _turn_tabs(self, state: PanelState, before: PanelState):
        """Lead to what comes next: the cases once connected, the review once one is open."""
        tabs = self.ui.tabs
        # Whoever trains or asks stays there: a server is asked again after a training.
        connecting = tabs.property("currentIndex") == tabs.indexOf(self.ui.serverTab) and before.server is None
        if state.case.image and state.case.image != before.case.image:
            tabs.setCurrentWidget(self.ui.reviewTab)
        elif connecting and state.server is not None and state.server.reviewing and not state.case.image:
            tabs.setCurrentWidget(self.ui.casesTab)

    def _run_timer(self):
        if self.presenter.working:
            self._timer.start()
        else:
            self._timer.stop()


class AnomaLabelTest(ScriptedLoadableModuleTest):
    """What the button "Reload and Test" of Slicer's developer mode runs."""

    def runTest(self, **_options):
        """Run the module's own tests inside the application."""
        run_module_tests(Path(__file__).parent / "Testing" / "Python")
