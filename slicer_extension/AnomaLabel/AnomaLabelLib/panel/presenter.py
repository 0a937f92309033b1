"""What the panel does: connects, asks, and ties its parts together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import slicer

from .. import __version__
from ..errors import PanelError
from ..review.journal import Journal
from ..review.session import SavedSession, load
from ..server.address import is_this_computer
from ..server.client import Client
from ..server.jobs import Jobs
from ..server.parameters import RunParameters
from ..server.server_facts import ServerFacts
from ..server.settings import PanelSettings
from ..server.work import ConnectWork
from ..translation import _
from .asking import Asking
from .board import Board, Lane, as_notice
from .box_editing import BoxEditing
from .cases import Cases
from .correction import Correction
from .findings import Findings
from .panel_state import Notice, PanelState
from .results import Results
from .review import Review
from .sending import Sending
from .summary import server_notice
from .training import TrainingPart
from .worklist import WorklistPart

CLIENT_NAME = f"AnomaLabel for 3D Slicer {__version__}"


def make_client(address: str, settings: PanelSettings) -> Client:
    """A client of a server, as the user's settings say.

    Raises:
        AddressError: the address is malformed.
    """
    return Client(address, settings.limits, settings.token, settings.client_id)


class Presenter:
    """The panel without its window; every method is for the window's thread.

    Args:
        scene: where images are found and results go.
        draw: is given each new state.
        folder: on this computer's disk, where reviews wait until the server has them.
        settings: of this user.
        slice_logics: gives the application's slice logics, or None.
        client_for: makes a client from an address and settings.
        jobs: runs what the user waits for.
        clock: seconds that never go back.

    Attributes:
        asking, cases, worklist, findings, review, editing, results, correction, training, sending: its parts.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        draw: Callable[[PanelState], None],
        folder: Path,
        settings: PanelSettings | None = None,
        slice_logics: Callable[[], object] = lambda: None,
        client_for: Callable[[str, PanelSettings], Client] = make_client,
        jobs: Jobs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scene = scene
        self._settings = settings or PanelSettings()
        self._client_for = client_for
        self._client: Client | None = None
        self._board = board = Board(draw)
        board.state = replace(board.state, reading_first=self._settings.reading_first)
        self._work, self._send, self._quiet, self._watch, self._learn = Lane(jobs), Lane(), Lane(), Lane(), Lane()
        self._folder = folder
        self._asked_to_resume = False
        self._resuming: SavedSession | None = None
        journal = Journal(folder)
        self.findings = Findings(scene, board, self._remember)
        self.results = Results(scene, board, self.findings)
        self.sending = Sending(board, self._send, journal, lambda: self._client, self._arrived_at_server, clock)
        self.review = Review(
            board,
            self.findings,
            journal,
            kept=self.sending.kick,
            run=lambda: self.results.run,
            withhold=self.results.withhold,
            leave_editing=lambda: self.editing.drop(),
            client=CLIENT_NAME,
        )
        self.cases = Cases(
            scene,
            board,
            self._work,
            self._quiet,
            self.review,
            self.results,
            self.findings,
            folder,
            client=lambda: self._client,
            settings=lambda: self._settings,
            reviewer=self._reviewer,
            run=lambda image: self.asking.as_chosen(image),
            question=lambda: self.asking.parameters,
            slice_logics=slice_logics,
            shown=lambda: self.correction.refresh(),
            clock=clock,
        )
        self.worklist = WorklistPart(board, self._watch, lambda: self._client, self.cases.open, clock)
        self.cases.worklist = self.worklist
        self.asking = Asking(
            scene,
            board,
            self._work,
            self.results,
            client=lambda: self._client,
            settings=lambda: self._settings,
            slice_logics=slice_logics,
            case_is_new=self.worklist.refresh,
        )
        of_case = (scene, board, self.findings, self.review, lambda: self.results.run, lambda: self.cases.source)
        self.editing = BoxEditing(*of_case)
        self.correction = Correction(*of_case)
        self.training = TrainingPart(
            board, self._learn, lambda: self._client, self._reconnect, self.worklist.refresh, clock
        )

    @property
    def state(self) -> PanelState:
        """What is drawn."""
        return self._board.state

    @property
    def client(self) -> Client | None:
        """Of the server that was last asked."""
        return self._client

    @property
    def settings(self) -> PanelSettings:
        """Of this user."""
        return self._settings

    @property
    def busy(self) -> bool:
        """Whether the user waits for something."""
        return self._work.busy

    @property
    def working(self) -> bool:
        """Whether `tick` has to be called on."""
        return any(lane.busy for lane in self._lanes())

    def connect(self, address: str) -> None:
        """Ask the server at an address what it offers."""
        try:
            client = self._client_for(address, self._settings)
            self._work.submit("connect", ConnectWork(client), self._connected, self._not_connected)
        except PanelError as error:
            self._board.change(server_notice=as_notice(error))
            return
        if self._client is not None and self._client.address != client.address:
            self.cases.close()
        self._client = client
        asking = Notice(_("Asking {address} ...").format(address=client.address))
        self._board.change(busy=True, server=None, address=client.address, server_notice=asking)

    def apply_settings(self, settings: PanelSettings, reconnect: bool = True) -> None:
        """Use other settings from now on.

        Args:
            reconnect: ask the connected server again where that matters; False where another one is asked anyway.
        """
        before, self._settings = self._settings, settings
        self._board.change(reading_first=settings.reading_first)
        if self._client is None:
            return
        try:
            self._client = self._client_for(self._client.address, settings)
        except PanelError as error:
            self._board.change(server_notice=as_notice(error))
            return
        if self.state.server is not None:
            self._close_for_another_reader()
        if reconnect and settings.token != before.token and not self.busy:
            self.connect(self._client.address)

    def resume(self) -> None:
        """Once, at the first look at the panel: go on where the panel ended while a case was open."""
        saved = None if self._asked_to_resume else load(self._folder)
        self._asked_to_resume = True
        if saved is not None and saved.image and self._client is None:
            self._resuming = saved
            self.connect(saved.address)

    def set_reasons(self, reasons: tuple[str, ...]) -> None:
        """Offer a config's reasons for rejecting a finding."""
        self._board.change(case=replace(self.state.case, reasons=reasons))

    def fail(self, error: PanelError) -> None:
        """Show what is wrong with what the user has typed."""
        self._board.fail(error)

    def cancel(self) -> None:
        """Stop what the user waits for."""
        if self.busy:
            self._work.cancel()
            self._board.change(notice=Notice(_("Cancelling ...")))

    def scene_changed(self) -> None:
        """Look at the scene again: after one was loaded or closed."""
        case = self.state.case.image
        self.results.refresh()
        self.correction.refresh()
        if case and self.cases.source is None:
            self.cases.image_is_gone()

    def tick(self) -> None:
        """Take what the running jobs have to say; called by a timer while `working`."""
        for lane in self._lanes():
            lane.tick()

    def heartbeat(self) -> None:
        """Called every second while the panel lives: leases, queue, worklist and training."""
        self.cases.heartbeat()
        self.sending.heartbeat()
        if self._client is not None and self.state.server is not None:
            self.training.heartbeat()
            self.worklist.heartbeat()

    def close(self) -> None:
        """End with the panel: stop running jobs and drop their files; the open case is resumed at the next start."""
        for lane in self._lanes():
            lane.cancel()
        self.asking.close()

    def _lanes(self) -> tuple[Lane, ...]:
        return self._work, self._send, self._quiet, self._watch, self._learn

    def _reviewer(self) -> str:
        """The server knows better whose login it is than what somebody typed."""
        server = self.state.server
        return (server.reviewer if server is not None else "") or self._settings.reviewer

    def _close_for_another_reader(self) -> None:
        """What the next reader decides is not to be kept under the name of the one before."""
        case = self.state.case.image
        if case and self._reviewer() != self.review.reviewer:
            cause = _("{case} is closed: another reader is at work now.").format(case=case)
            self.cases.close(Notice(cause, _("Open it again to review it under the new name.")))

    def _connected(self, facts: ServerFacts) -> None:
        address = self._client.address
        notice = server_notice(facts, address, is_this_computer(address))
        self._board.change(busy=False, server=facts, server_notice=notice)
        self._close_for_another_reader()
        self.sending.kick()
        self._go_on(address)
        self.worklist.refresh()
        if facts.reviewing:
            self.training.refresh()

    def _not_connected(self, error: PanelError) -> None:
        self._board.change(busy=False, server_notice=as_notice(error))
        if self._resuming is not None:
            waiting = _("{case} was open and comes back as soon as the server answers.").format(
                case=self._resuming.image
            )
            self._board.change(notice=Notice(waiting, _("Press Connect under Settings to try again.")))
        self.sending.show()

    def _go_on(self, address: str) -> None:
        """Open the case that was open when the panel ended, where it is this server's."""
        saved, self._resuming = self._resuming, None
        if saved is None or saved.address != address:
            return
        self.asking.parameters = RunParameters.from_text(saved.question) or self.asking.parameters
        self._board.change(asked=self.asking.parameters)
        self.cases.resume(saved)

    def _remember(self, finding_id: str) -> None:
        self.cases.remember(finding_id)

    def _arrived_at_server(self) -> None:
        self.worklist.refresh()

    def _reconnect(self) -> None:
        """A training has ended: ask what models there are now."""
        if self._client is not None and not self.busy:
            self.connect(self._client.address)
