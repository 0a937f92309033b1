"""What the panel does: connects, asks, and ties its parts together."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import slicer

from .. import __version__
from ..errors import BusyError, PanelError, SceneError
from ..review.journal import Journal
from ..review.session import SavedSession, load
from ..scene.runs import add_run
from ..scene.scene_upload import volume_file
from ..scene.slice_views import fit_to_background
from ..scene.studies import find_study, link_study, load_study
from ..server.address import is_this_computer
from ..server.case_work import AddCaseWork
from ..server.client import Client
from ..server.jobs import Jobs
from ..server.parameters import RunParameters
from ..server.server_facts import ServerFacts
from ..server.settings import PanelSettings
from ..server.work import ConnectWork, RunResult, RunWork
from ..translation import _
from .board import Board, Lane, as_notice
from .box_editing import BoxEditing
from .cases import RUN, Cases
from .correction import Correction
from .errors import not_connected
from .findings import Findings
from .panel_state import Notice, PanelState
from .results import Results
from .review import Review
from .sending import Sending
from .summary import hint_waits, other_image_notice, run_notice, server_notice
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
        cases, worklist, findings, review, editing, results, correction, training, sending: its parts.
        parameters: what the next run asks for, None while nothing can be asked.
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
        self._slice_logics = slice_logics
        self._client_for = client_for
        self._client: Client | None = None
        self._source_id = ""
        self._while_running = ExitStack()
        self._board = board = Board(draw)
        board.state = replace(board.state, reading_first=self._settings.reading_first)
        self._work, self._send, self._quiet, self._watch, self._learn = Lane(jobs), Lane(), Lane(), Lane(), Lane()
        self._folder = folder
        self._asked_to_resume = False
        self._resuming: SavedSession | None = None
        self.parameters: RunParameters | None = None
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
            run=self._run_chosen,
            question=lambda: self.parameters,
            slice_logics=slice_logics,
            shown=lambda: self.correction.refresh(),
            clock=clock,
        )
        self.worklist = WorklistPart(board, self._watch, lambda: self._client, self.cases.open, clock)
        self.cases.worklist = self.worklist
        self.editing = BoxEditing(
            scene,
            board,
            self.findings,
            self.review,
            run=lambda: self.results.run,
            source=lambda: self.cases.source,
        )
        self.correction = Correction(
            scene,
            board,
            self.findings,
            self.review,
            run=lambda: self.results.run,
            source=lambda: self.cases.source,
        )
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

    def refused(self) -> tuple[str, ...]:
        """Why the server would not take some acts, oldest first."""
        return self.sending.refused()

    def add_case(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Send a volume of the scene to the server as a new case of the worklist."""
        try:
            client = self._ready_client()
            upload = self._while_running.enter_context(volume_file(volume))
            work = AddCaseWork(client, volume.GetName(), upload)
            self._work.submit("add", work, self._case_added, self._run_failed)
        except PanelError as error:
            self._fail(error)
            return
        self._source_id = volume.GetID()
        self._board.change(busy=True, notice=Notice(_("Sending the volume ...")))

    def run_on_volume(self, volume: slicer.vtkMRMLScalarVolumeNode | None, parameters: RunParameters) -> None:
        """Send a volume of the scene and ask for its anomalies."""
        try:
            client = self._ready_client()
            upload = self._while_running.enter_context(volume_file(volume))
            self._start(RunWork(client, self._sized(parameters), upload), volume.GetID())
        except PanelError as error:
            self._fail(error)

    def run_on_study(self, study: str, parameters: RunParameters) -> None:
        """Ask for the anomalies of a study of the server, and fetch the study where the scene does not hold it."""
        try:
            client = self._ready_client()
            if not study:
                raise SceneError(_("No case is open."), _("Open one in the worklist, or pick a volume of the scene."))
            loaded = find_study(self._scene, client.address, study)
            work = RunWork(client, self._sized(parameters), study, download=loaded is None)
            self._start(work, loaded.GetID() if loaded else "")
        except PanelError as error:
            self._fail(error)

    def cancel(self) -> None:
        """Stop what the user waits for."""
        if self.busy:
            self._work.cancel()
            self._board.change(notice=Notice(_("Cancelling ...")))

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
        self._while_running.close()

    def _lanes(self) -> tuple[Lane, ...]:
        return self._work, self._send, self._quiet, self._watch, self._learn

    def _reviewer(self) -> str:
        """The server knows better whose login it is than what somebody typed."""
        server = self.state.server
        return (server.reviewer if server is not None else "") or self._settings.reviewer

    def _ready_client(self) -> Client:
        if self.busy:
            raise BusyError
        if self._client is None or self.state.server is None:
            raise not_connected()
        return self._client

    def _start(self, work: RunWork, source_id: str) -> None:
        self._work.submit(RUN, work, self._received, self._run_failed, self._progress)
        self._source_id = source_id
        self._board.change(busy=True, progress=None, notice=Notice(_("Waiting for the server ...")))

    def _sized(self, parameters: RunParameters) -> RunParameters:
        return replace(parameters, compact=parameters.compact or self._settings.compact)

    def _progress(self, done: int, total: int) -> None:
        self._board.change(progress=(done, total))

    def _run_chosen(self, image: str) -> None:
        if self.parameters is not None:
            self.run_on_study(image, self.parameters)

    def _connected(self, facts: ServerFacts) -> None:
        address = self._client.address
        notice = server_notice(facts, address, is_this_computer(address))
        self._board.change(busy=False, server=facts, server_notice=notice)
        self.sending.kick()
        self._go_on(address)
        self.worklist.refresh()
        if facts.reviewing:
            self.training.refresh()

    def _not_connected(self, error: PanelError) -> None:
        self._board.change(busy=False, server_notice=as_notice(error))
        self.sending.show()

    def _go_on(self, address: str) -> None:
        """Open the case that was open when the panel ended, where it is this server's."""
        saved, self._resuming = self._resuming, None
        if saved is None or saved.address != address:
            return
        self.parameters = RunParameters.from_text(saved.question) or self.parameters
        self._board.change(asked=self.parameters)
        self.cases.resume(saved)

    def _received(self, result: RunResult) -> None:
        self._end_run()
        try:
            self._receive(result)
        except PanelError as error:
            self._fail(error)

    def _receive(self, result: RunResult) -> None:
        source = self._scene.GetNodeByID(self._source_id) if self._source_id else None
        if result.study_file is not None:
            source = load_study(self._scene, self._client.address, result.study_file)
            self._source_id = source.GetID()
        if source is None:
            raise SceneError(
                _("The volume was closed while the server worked on it."), _("Load it again and run again.")
            )
        run = add_run(self._scene, result.inference, source, _("AnomaLabel {image}").format(image=source.GetName()))
        if not self.results.belongs_to_case(run):
            self._board.change(notice=other_image_notice(run, self.state.case.image))
            return
        self.results.show(run.id)
        fit_to_background(self._slice_logics())
        self._board.change(notice=hint_waits() if self.state.case.hidden else run_notice(run))

    def _case_added(self, image: str) -> None:
        """The user's own volume is that case from now on: it need not be fetched, and stays when the case is left."""
        self._end_run()
        volume = self._scene.GetNodeByID(self._source_id)
        if volume is not None:
            link_study(volume, self._client.address, image)
        self.worklist.refresh()
        self._board.change(notice=Notice(_("{case} is a case of the worklist now.").format(case=image)))

    def _run_failed(self, error: PanelError) -> None:
        self._end_run()
        self._fail(error)

    def _end_run(self) -> None:
        self._while_running.close()
        self._board.change(busy=False, progress=None)

    def _fail(self, error: PanelError) -> None:
        if not self.busy:
            self._while_running.close()
        self._board.fail(error)

    def _remember(self, finding_id: str) -> None:
        self.cases.remember(finding_id)

    def _arrived_at_server(self) -> None:
        self.worklist.refresh()

    def _reconnect(self) -> None:
        """A training has ended: ask what models there are now."""
        if self._client is not None and not self.busy:
            self.connect(self._client.address)
