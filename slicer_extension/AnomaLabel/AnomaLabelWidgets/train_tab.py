"""Training a model on the server from the cases that readers called normal, or from a folder of healthy images."""

from __future__ import annotations

from AnomaLabelLib.errors import PanelError
from AnomaLabelLib.panel.panel_state import PanelState
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.texts import models_text, progress_text
from AnomaLabelLib.server.server_facts import ServerFacts
from AnomaLabelLib.server.training import options_of
from AnomaLabelLib.translation import _

from .drawing import fill, say, show_notice


class TrainTab:
    """Draws the server's training and hands start and cancel on."""

    def __init__(self, ui, presenter: Presenter) -> None:
        self._ui = ui
        self._presenter = presenter
        ui.startTrainingButton.clicked.connect(lambda _checked=False: self._on_start())
        ui.cancelTrainingButton.clicked.connect(lambda _checked=False: presenter.training.cancel())

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the tab to a state; what did not change is left alone."""
        ui, server = self._ui, state.server
        if server is not before.server and server is not None:
            fill(ui.trainTaskCombo, [trainer.name for trainer in server.trainers])
            fill(ui.trainConfigCombo, [config.title for config in server.configs])
            say(ui.modelsLabel, models_text(server))
            self._show_options(server)
        training = state.training.training
        running = training is not None and training.running
        ui.startTrainingButton.setEnabled(server is not None and bool(server.trainers) and not running)
        ui.cancelTrainingButton.setEnabled(running)
        ui.trainingBar.setVisible(running)
        if running:
            ui.trainingBar.setRange(0, training.total)
            ui.trainingBar.setValue(training.done)
        say(ui.trainingLabel, "" if training is None else progress_text(training))
        show_notice(ui.trainingNotice, state.training.notice)

    def _show_options(self, server: ServerFacts) -> None:
        keys = sorted({key for trainer in server.trainers for key in trainer.config_keys})
        self._ui.trainOptionsEdit.setToolTip(
            _("Further settings, as in: shots=8. Known: {keys}").format(keys=", ".join(keys))
        )

    def _on_start(self) -> None:
        ui, server = self._ui, self._presenter.state.server
        place = ui.trainConfigCombo.property("currentIndex")
        if server is None or not 0 <= place < len(server.configs):
            return
        try:
            params = {"config": server.configs[place].name, **options_of(ui.trainOptionsEdit.property("text"))}
        except PanelError as error:
            self._presenter.fail(error)
            return
        healthy = ui.healthyEdit.property("text").strip()
        if healthy:
            params["healthy"] = healthy
        self._presenter.training.start(ui.trainTaskCombo.property("currentText"), params)
