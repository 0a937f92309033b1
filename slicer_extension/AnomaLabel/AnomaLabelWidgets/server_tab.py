"""Where the server is, who reads, and how the panel behaves; kept in the application's settings."""

from __future__ import annotations

from dataclasses import replace

from AnomaLabelLib.errors import PanelError
from AnomaLabelLib.panel.panel_state import PanelState
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.texts import SIZES, refused_text, version_text
from AnomaLabelLib.server.settings import PanelSettings, to_store, token_warning

from .drawing import choose, fill, quietly, say, set_checked, set_value, show_notice


class ServerTab:
    """Draws the connection and keeps the settings.

    Args:
        keep: writes a text under a key of the application's settings.
    """

    def __init__(self, ui, presenter: Presenter, keep) -> None:
        self._ui = ui
        self._presenter = presenter
        self._keep = keep
        fill(ui.sizeCombo, SIZES)
        self._show(presenter.settings)
        ui.testConnectionButton.clicked.connect(lambda _checked=False: self.connect())
        ui.resendButton.clicked.connect(lambda _checked=False: presenter.sending.resend())
        ui.serverAddress.lineEdit().returnPressed.connect(self.connect)
        ui.serverAddress.editTextChanged.connect(lambda _text: self._warn())
        for edit in (ui.reviewerEdit, ui.tokenEdit):
            edit.editingFinished.connect(lambda: self._on_change())
        for box in (ui.connectTime, ui.answerTime, ui.resultTime):
            box.valueChanged.connect(lambda _value: self._on_change())
        ui.sizeCombo.currentIndexChanged.connect(lambda _place: self._on_change())
        for check in (ui.readingFirstCheck, ui.runOnOpenCheck):
            check.toggled.connect(lambda _checked: self._on_change())

    def connect(self) -> None:
        """Connect with the address as it stands there."""
        self._on_change(reconnect=False)
        address = self._ui.serverAddress.property("currentText")
        self._presenter.connect(address)
        try:
            self._store(self._presenter.settings.used(address))
        except PanelError:
            # Said already by the connection itself; an address that is none is not remembered.
            return
        self._show_addresses(self._presenter.settings)

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the tab to a state; what did not change is left alone."""
        ui = self._ui
        show_notice(ui.serverNotice, state.server_notice)
        for widget in (ui.testConnectionButton, ui.serverAddress):
            widget.setEnabled(not state.busy)
        if state.outbox != before.outbox:
            say(ui.refusedLabel, refused_text(state.outbox.reasons))
            ui.resendButton.setVisible(bool(state.outbox.refused))
        if state.server is not before.server:
            say(ui.versionLabel, version_text(state.server))

    def _show(self, settings: PanelSettings) -> None:
        ui = self._ui
        self._show_addresses(settings)
        ui.reviewerEdit.setText(settings.reviewer)
        ui.tokenEdit.setText(settings.token)
        choose(ui.sizeCombo, 1 if settings.compact else 0)
        set_value(ui.connectTime, settings.connect_s)
        set_value(ui.answerTime, settings.answer_s)
        set_value(ui.resultTime, settings.result_s)
        set_checked(ui.readingFirstCheck, settings.reading_first)
        set_checked(ui.runOnOpenCheck, settings.run_on_open)
        self._warn()

    def _show_addresses(self, settings: PanelSettings) -> None:
        with quietly(self._ui.serverAddress):
            self._ui.serverAddress.clear()
            self._ui.serverAddress.addItems(list(settings.addresses))

    def _on_change(self, reconnect: bool = True) -> None:
        ui = self._ui
        settings = replace(
            self._presenter.settings,
            reviewer=ui.reviewerEdit.property("text"),
            token=ui.tokenEdit.property("text"),
            compact=ui.sizeCombo.property("currentIndex") == 1,
            connect_s=ui.connectTime.property("value"),
            answer_s=ui.answerTime.property("value"),
            result_s=ui.resultTime.property("value"),
            reading_first=ui.readingFirstCheck.property("checked"),
            run_on_open=ui.runOnOpenCheck.property("checked"),
        )
        if settings != self._presenter.settings:
            # An address that is being changed is asked once Connect is pressed, with the new token and not the old one.
            same = ui.serverAddress.property("currentText").strip() == self._presenter.state.address
            self._store(settings, reconnect and same)
        self._warn()

    def _store(self, settings: PanelSettings, reconnect: bool = False) -> None:
        to_store(settings, self._keep)
        self._presenter.apply_settings(settings, reconnect)

    def _warn(self) -> None:
        ui = self._ui
        token = ui.tokenEdit.property("text").strip()
        say(ui.tokenWarning, token_warning(ui.serverAddress.property("currentText")) if token else "")
