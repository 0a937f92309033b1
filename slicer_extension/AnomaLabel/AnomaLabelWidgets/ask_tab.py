"""What to ask of the server: which image, which anatomy, method, model and words."""

from __future__ import annotations

from AnomaLabelLib.errors import PanelError
from AnomaLabelLib.panel.errors import not_connected
from AnomaLabelLib.panel.panel_state import PanelState
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.summary import trained_text
from AnomaLabelLib.panel.texts import no_case_text
from AnomaLabelLib.server.parameters import RunParameters, prompts_from_text
from AnomaLabelLib.server.server_facts import ConfigFacts, ServerFacts

from .drawing import fill, say


class AskTab:
    """Draws what the server offers and keeps the presenter's next question up to date."""

    def __init__(self, ui, presenter: Presenter) -> None:
        self._ui = ui
        self._presenter = presenter
        ui.configCombo.currentTextChanged.connect(self._on_config)
        ui.taskCombo.currentTextChanged.connect(self._on_task)
        ui.backboneCombo.currentTextChanged.connect(lambda _text: self._tell())
        for prompts in (ui.positivePrompts, ui.negativePrompts):
            prompts.textChanged.connect(self._tell)
        ui.volumeRadio.toggled.connect(self._on_source)
        ui.runButton.clicked.connect(lambda _checked=False: self.run())
        ui.addCaseButton.clicked.connect(lambda _checked=False: self._on_add_case())

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the tab to a state; what did not change is left alone."""
        ui = self._ui
        if state.server is not before.server:
            self._draw_server(state.server)
        if state.asked is not None and state.asked != before.asked:
            self._take_up(state.asked)
        ready = not state.busy and state.server is not None
        ui.runButton.setEnabled(ready)
        ui.addCaseButton.setEnabled(ready and ui.volumeRadio.property("checked"))
        say(ui.caseImageLabel, state.case.image or no_case_text())

    def run(self) -> None:
        """Ask the server about the image that is picked."""
        try:
            parameters = self.parameters()
        except PanelError as error:
            self._presenter.fail(error)
            return
        if self._ui.volumeRadio.property("checked"):
            self._presenter.asking.on_volume(self._ui.volumeSelector.currentNode(), parameters)
        else:
            self._presenter.asking.on_study(self._presenter.state.case.image, parameters)

    def parameters(self) -> RunParameters:
        """The question as the widgets say.

        Raises:
            PanelError: no server is connected, or no words are given.
        """
        server, config = self._presenter.state.server, self._chosen_config()
        if server is None or config is None:
            raise not_connected()
        task = self._ui.taskCombo.property("currentText")
        model = self._ui.backboneCombo.property("currentText") or None
        facts = server.task(task)
        if facts.learns:
            return RunParameters(task, config.name, trained=model, maps=facts.maps)
        return RunParameters(
            task,
            config.name,
            backbone=model,
            maps=facts.maps,
            positive=prompts_from_text(self._ui.positivePrompts.property("plainText")),
            negative=prompts_from_text(self._ui.negativePrompts.property("plainText")),
        )

    def _draw_server(self, server: ServerFacts | None) -> None:
        if server is None:
            return
        fill(self._ui.taskCombo, server.tasks)
        if fill(self._ui.configCombo, [config.title for config in server.configs]):
            self._on_config("")
        self._on_task("")

    def _take_up(self, asked: RunParameters) -> None:
        """Stand as the last session did, as far as the server still offers it."""
        ui, server = self._ui, self._presenter.state.server
        if server is None:
            return
        names = [config.name for config in server.configs]
        if asked.config in names:
            ui.configCombo.setCurrentIndex(names.index(asked.config))
        if asked.task in server.tasks:
            ui.taskCombo.setCurrentIndex(server.tasks.index(asked.task))
        model = asked.trained or asked.backbone
        if model:
            ui.backboneCombo.setCurrentIndex(max(0, ui.backboneCombo.findText(model)))
        for edit, texts in ((ui.positivePrompts, asked.positive), (ui.negativePrompts, asked.negative)):
            if texts is not None:
                edit.setPlainText("\n".join(texts))

    def _tell(self) -> None:
        try:
            self._presenter.asking.parameters = self.parameters()
        except PanelError:
            # Half-typed words are told of when Run is pressed.
            self._presenter.asking.parameters = None

    def _on_config(self, _title):
        config = self._chosen_config()
        if config is not None:
            self._ui.positivePrompts.setPlainText("\n".join(config.positive))
            self._ui.negativePrompts.setPlainText("\n".join(config.negative))
            self._presenter.set_reasons(config.rejection_reasons)
        self._on_task("")

    def _on_task(self, _name):
        ui, server, config = self._ui, self._presenter.state.server, self._chosen_config()
        if server is None or config is None:
            return
        task = ui.taskCombo.property("currentText")
        learns = server.task(task).learns
        models = [model.name for model in server.trained_for(task, config.name)] if learns else server.backbones
        fill(ui.backboneCombo, models)
        for prompts in (ui.positivePrompts, ui.negativePrompts):
            prompts.setEnabled(not learns)
        say(ui.trainedLabel, trained_text(server, task, config) if learns else "")
        self._tell()

    def _on_source(self, _checked):
        ui, state = self._ui, self._presenter.state
        from_scene = ui.volumeRadio.property("checked")
        ui.volumeSelector.setEnabled(from_scene)
        ui.addCaseButton.setEnabled(from_scene and state.server is not None and not state.busy)

    def _on_add_case(self) -> None:
        self._presenter.asking.add_case(self._ui.volumeSelector.currentNode())

    def _chosen_config(self) -> ConfigFacts | None:
        server = self._presenter.state.server
        place = self._ui.configCombo.property("currentIndex")
        return server.configs[place] if server is not None and 0 <= place < len(server.configs) else None
