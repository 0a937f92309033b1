"""What the panel does: takes the user's acts, keeps the state, moves results from the jobs into the scene."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import slicer

from ..errors import BusyError, PanelError, SceneError
from ..scene import heatmap as heatmap_display
from ..scene.further_maps import LOOKS
from ..scene.geometry import ijk_to_ras, to_world
from ..scene.runs import Run, add_run, delete_run, find_runs
from ..scene.scene_upload import volume_file
from ..scene.slice_views import SliceOverlay, fit_to_background, jump_to, set_opacity
from ..scene.studies import find_study, load_study
from ..server.address import is_this_computer
from ..server.client import Client
from ..server.jobs import Finished, Jobs, Progress
from ..server.parameters import RunParameters
from ..server.server_facts import ServerFacts
from ..server.work import ConnectWork, RunResult, RunWork
from ..translation import _
from .panel_state import Notice, PanelState
from .summary import run_notice, server_notice, shown_run

CONNECT = "connect"
RUN = "run"


class Presenter:
    """The panel without its window; every method is for the window's thread.

    Args:
        scene: where images are found and results go.
        draw: is given each new state.
        slice_logics: gives the application's slice logics, or None.
        client_for: makes a client from an address.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        draw: Callable[[PanelState], None],
        slice_logics: Callable[[], object] = lambda: None,
        client_for: Callable[[str], Client] = Client,
        jobs: Jobs | None = None,
    ) -> None:
        self.state = PanelState()
        self._scene = scene
        self._draw = draw
        self._slice_logics = slice_logics
        self._client_for = client_for
        self._jobs = jobs or Jobs()
        self._overlay = SliceOverlay(scene)
        self._run: Run | None = None
        self._source_id = ""
        self._client: Client | None = None
        self._while_running = ExitStack()

    @property
    def busy(self) -> bool:
        """Whether `tick` has to be called on."""
        return self._jobs.busy

    def connect(self, address: str) -> None:
        """Ask the server at an address what it offers."""
        try:
            client = self._client_for(address)
            self._jobs.submit(CONNECT, ConnectWork(client))
        except PanelError as error:
            self._change(server_notice=_as_notice(error))
            return
        self._client = client
        self._change(busy=True, server=None, server_notice=Notice(_("Asking {address} ...").format(address=address)))

    def run_on_volume(self, volume: slicer.vtkMRMLScalarVolumeNode | None, parameters: RunParameters) -> None:
        """Send a volume of the scene and ask for its anomalies."""
        try:
            client = self._ready_client()
            upload = self._while_running.enter_context(volume_file(volume))
            self._start(RunWork(client, parameters, upload), volume.GetID())
        except PanelError as error:
            self._fail(error)

    def run_on_study(self, study: str, parameters: RunParameters) -> None:
        """Ask for the anomalies of a study of the server, and fetch the study where the scene does not hold it."""
        try:
            client = self._ready_client()
            if not study:
                raise SceneError(_("No study is picked."), _("Pick a study of the server, or a volume of the scene."))
            loaded = find_study(self._scene, client.address, study)
            work = RunWork(client, parameters, study, download=loaded is None)
            self._start(work, loaded.GetID() if loaded else "")
        except PanelError as error:
            self._fail(error)

    def cancel(self) -> None:
        """Stop the running job."""
        if self.busy:
            self._jobs.cancel()
            self._change(notice=Notice(_("Cancelling ...")))

    def tick(self) -> None:
        """Take what the running job has to say; called by a timer while `busy`."""
        outcome = self._jobs.take()
        if outcome is None:
            return
        if isinstance(outcome, Progress):
            self._change(progress=(outcome.done, outcome.total))
            return
        self._while_running.close()
        self._change(busy=False, progress=None)
        if isinstance(outcome, Finished):
            self._finish(outcome)
        elif outcome.name == CONNECT:
            self._change(server_notice=_as_notice(outcome.error))
        else:
            self._fail(outcome.error)

    def show_run(self, run_id: str) -> None:
        """Show a result of the scene; an unknown id shows none."""
        runs = find_runs(self._scene)
        self._run = next((run for run in runs if run.id == run_id), None)
        self._change(runs=tuple((run.id, run.name) for run in runs), run=shown_run(self._run) if self._run else None)
        if self._run is None:
            self._overlay.restore()
        else:
            self._refresh_views(self._run.source)

    def refresh_runs(self) -> None:
        """Look through the scene again: after a scene was loaded or closed, or nodes removed by hand."""
        runs = find_runs(self._scene)
        known = self._run is not None and self._run.id in {run.id for run in runs}
        self.show_run(self._run.id if known else runs[-1].id if runs else "")

    def delete_shown_run(self) -> None:
        """Take the shown result out of the scene, with nothing else."""
        if self._run is None:
            return
        self._overlay.restore()
        delete_run(self._scene, self._run.id)
        self.refresh_runs()

    def set_threshold(self, value: float) -> None:
        """Show the heatmap from a value on; asks nothing of the server."""
        if self._run is not None and self.state.run is not None:
            heatmap_display.set_threshold(self._run.heatmap, value)
            self._change(run=replace(self.state.run, threshold=value))

    def set_opacity(self, value: float) -> None:
        """Opacity of the heatmap, in [0, 1]."""
        self._change(opacity=value)
        if self._run is not None:
            translucent = [volume for kind, volume in self._run.maps.items() if not LOOKS[kind].opaque]
            for shown in (self._run.heatmap, *translucent):
                set_opacity(self._scene, shown, value)

    def set_visible(self, heatmap: bool | None = None, unseen: bool | None = None, boxes: bool | None = None) -> None:
        """Show or hide heatmap, tint and boxes; None leaves one as it is."""
        self._change(
            heatmap_visible=self.state.heatmap_visible if heatmap is None else heatmap,
            unseen_visible=self.state.unseen_visible if unseen is None else unseen,
            boxes_visible=self.state.boxes_visible if boxes is None else boxes,
        )
        self._refresh_views()

    def show_instead(self, kind: str) -> None:
        """Show a map in place of the heatmap, where the shown run has it; "" shows the heatmap again."""
        self._change(instead=kind)
        self._refresh_views()

    def jump_to_finding(self, place: int) -> None:
        """Bring all slice views to the peak of the finding in row `place`, counted from 0."""
        if self._run is None or not 0 <= place < len(self._run.report.findings):
            return
        peak = self._run.report.findings[place].peak_index
        in_node = (ijk_to_ras(self._run.heatmap) @ np.append(peak, 1.0))[:3]
        jump_to(self._scene, to_world(self._run.heatmap, in_node))

    def close(self) -> None:
        """End with the panel: stop a running job and drop its files."""
        self._jobs.cancel()
        self._while_running.close()

    def _ready_client(self) -> Client:
        if self.busy:
            raise BusyError
        if self._client is None or self.state.server is None:
            raise SceneError(_("No server is connected."), _("Press Test connection first."))
        return self._client

    def _start(self, work: RunWork, source_id: str) -> None:
        self._jobs.submit(RUN, work)
        self._source_id = source_id
        self._change(busy=True, progress=None, notice=Notice(_("Waiting for the server ...")))

    def _finish(self, outcome: Finished) -> None:
        if isinstance(outcome.value, ServerFacts):
            self._connected(outcome.value)
            return
        try:
            self._receive(outcome.value)
        except PanelError as error:
            self._fail(error)

    def _connected(self, facts: ServerFacts) -> None:
        local = self._client is not None and is_this_computer(self._client.address)
        self._change(server=facts, server_notice=server_notice(facts, self._client.address, local))

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
        self.show_run(run.id)
        fit_to_background(self._slice_logics())
        self._change(notice=run_notice(run))

    def _refresh_views(self, background: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
        run = self._run
        if run is None:
            return
        state = self.state
        shown, opacity = run.heatmap if state.heatmap_visible else None, state.opacity
        if state.instead in run.maps:
            shown = run.maps[state.instead]
            opacity = 1.0 if LOOKS[state.instead].opaque else opacity
        self._overlay.show(background, shown, opacity, run.unseen if state.unseen_visible else None)
        for other in find_runs(self._scene):
            for box in other.boxes:
                box.GetDisplayNode().SetVisibility(state.boxes_visible and other.id == run.id)

    def _fail(self, error: PanelError) -> None:
        if not self.busy:
            self._while_running.close()
        self._change(notice=_as_notice(error))

    def _change(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)
        self._draw(self.state)


def _as_notice(error: PanelError) -> Notice:
    return Notice(error.cause, error.remedy, is_error=True)
