"""Asking methods about images: a study of the server, or a volume of the scene that is sent along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import slicer

from ..errors import BusyError, PanelError, SceneError
from ..scene.runs import add_run
from ..scene.scene_upload import volume_file
from ..scene.slice_views import fit_to_background
from ..scene.studies import find_study, link_study, load_study, study_name
from ..server.case_work import AddCaseWork
from ..server.client import Client
from ..server.parameters import RunParameters
from ..server.settings import PanelSettings
from ..server.work import RunResult, RunWork
from ..translation import _
from .board import Board, Lane
from .cases import RUN
from .errors import not_connected
from .panel_state import Notice
from .results import Results
from .summary import hint_waits, other_image_notice, run_notice


class Asking:
    """Runs methods; every method is for the window's thread.

    Args:
        work: the lane that the user waits for.
        results: shows what comes.
        client: gives the connected client, None while there is none.
        settings: gives the user's settings.
        slice_logics: gives the application's slice logics, or None.
        case_is_new: called once a volume has become a case.

    Attributes:
        parameters: what the next run asks for, None while nothing can be asked.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        board: Board,
        work: Lane,
        results: Results,
        client: Callable[[], Client | None],
        settings: Callable[[], PanelSettings],
        slice_logics: Callable[[], object],
        case_is_new: Callable[[], None],
    ) -> None:
        self._scene = scene
        self._board = board
        self._work = work
        self._results = results
        self._client = client
        self._settings = settings
        self._slice_logics = slice_logics
        self._case_is_new = case_is_new
        self._source: slicer.vtkMRMLScalarVolumeNode | None = None
        self._while_running = ExitStack()
        self.parameters: RunParameters | None = None

    def add_case(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Send a volume of the scene to the server as a new case of the worklist."""
        try:
            client = self._ready_client()
            upload = self._while_running.enter_context(volume_file(volume))
            work = AddCaseWork(client, study_name(volume.GetName()), upload)
            self._work.submit("add", work, self._case_added, self._run_failed)
        except PanelError as error:
            self._fail(error)
            return
        self._source = volume
        self._board.change(busy=True, notice=Notice(_("Sending the volume ...")))

    def on_volume(self, volume: slicer.vtkMRMLScalarVolumeNode | None, parameters: RunParameters) -> None:
        """Send a volume of the scene and ask for its anomalies."""
        try:
            client = self._ready_client()
            upload = self._while_running.enter_context(volume_file(volume))
            self._start(RunWork(client, self._sized(parameters), upload), volume)
        except PanelError as error:
            self._fail(error)

    def on_study(self, study: str, parameters: RunParameters) -> None:
        """Ask for the anomalies of a study of the server, and fetch the study where the scene does not hold it."""
        try:
            client = self._ready_client()
            if not study:
                raise SceneError(_("No case is open."), _("Open one in the worklist, or pick a volume of the scene."))
            loaded = find_study(self._scene, client.address, study)
            work = RunWork(client, self._sized(parameters), study, download=loaded is None)
            self._start(work, loaded)
        except PanelError as error:
            self._fail(error)

    def as_chosen(self, image: str) -> None:
        """Ask about a study what the user has chosen, if anything."""
        if self.parameters is not None:
            self.on_study(image, self.parameters)

    def close(self) -> None:
        """Drop the files of a run that the panel's end cut off."""
        self._while_running.close()

    def _ready_client(self) -> Client:
        if self._work.busy:
            raise BusyError
        if self._client() is None or self._board.state.server is None:
            raise not_connected()
        return self._client()

    def _start(self, work: RunWork, source: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self._work.submit(RUN, work, self._received, self._run_failed, self._progress)
        self._source = source
        self._board.change(busy=True, progress=None, notice=Notice(_("Waiting for the server ...")))

    def _sized(self, parameters: RunParameters) -> RunParameters:
        return replace(parameters, compact=parameters.compact or self._settings().compact)

    def _progress(self, done: int, total: int) -> None:
        self._board.change(progress=(done, total))

    def _received(self, result: RunResult) -> None:
        self._end_run()
        try:
            self._receive(result)
        except PanelError as error:
            self._fail(error)

    def _receive(self, result: RunResult) -> None:
        source, self._source = self._source, None
        if result.study_file is not None:
            source = load_study(self._scene, self._client().address, result.study_file)
        # Its id would not tell: a scene gives the ids of removed nodes to new ones.
        if source is None or source.GetScene() is not self._scene:
            raise SceneError(
                _("The volume was closed while the server worked on it."), _("Load it again and run again.")
            )
        run = add_run(self._scene, result.inference, source, _("AnomaLabel {image}").format(image=source.GetName()))
        if not self._results.belongs_to_case(run):
            self._board.change(notice=other_image_notice(run, self._board.state.case.image))
            return
        self._results.show(run.id)
        if not self._board.state.case.image:
            # The views of a case were fitted when it opened, and may stand at a finding by now.
            fit_to_background(self._slice_logics())
        self._board.change(notice=hint_waits() if self._board.state.case.hidden else run_notice(run))

    def _case_added(self, image: str) -> None:
        """The user's own volume is that case from now on: it need not be fetched, and stays when the case is left."""
        self._end_run()
        volume, self._source = self._source, None
        if volume is not None and volume.GetScene() is self._scene:
            link_study(volume, self._client().address, image)
        self._case_is_new()
        self._board.change(notice=Notice(_("{case} is a case of the worklist now.").format(case=image)))

    def _run_failed(self, error: PanelError) -> None:
        self._source = None
        self._end_run()
        self._fail(error)

    def _end_run(self) -> None:
        self._while_running.close()
        self._board.change(busy=False, progress=None)

    def _fail(self, error: PanelError) -> None:
        if not self._work.busy:
            self._while_running.close()
        self._board.fail(error)
