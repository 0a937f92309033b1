"""Opening and leaving cases: the lease, the image in the scene, and what stays when the next one comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer

from ..errors import PanelError, retryable
from ..review.event import ReviewEvent
from ..review.session import SavedSession, save
from ..scene.case_nodes import forget_case, show_segments
from ..scene.masks import show_mask
from ..scene.segments import case_segmentation, mark_sent, tell_findings
from ..scene.slice_views import fit_to_background
from ..scene.studies import find_study, load_study
from ..server.case_work import OpenCaseWork, OpenedCase, ReleaseWork, RenewLeaseWork
from ..server.client import Client
from ..server.parameters import RunParameters
from ..server.settings import PanelSettings
from ..server.versions import require_reviewing
from ..server.worklist import Lease
from ..translation import _
from .board import Board, Lane, as_notice
from .errors import image_closed, no_reviewer, not_connected, not_while_editing
from .findings import Findings
from .panel_state import CaseState, Notice
from .results import Results
from .review import Review
from .worklist import WorklistPart

RUN = "run"
"""Name of the job that asks a method about an image."""

LEASE_RENEWALS = 3
"""A lease is renewed when a third of it is over, so that one lost request does not end it."""

UNKNOWN_LEASE_S = 90.0
"""Until the server has said for how long it gives a case."""


class Cases:
    """One case at a time; every method is for the window's thread.

    Args:
        work: the lane that the user waits for.
        quiet: the lane that nobody waits for.
        folder: where the place of the reader is kept.
        client: gives the connected client, None while there is none.
        settings: gives the user's settings.
        reviewer: gives the name of who reads, "" where nobody knows.
        question: gives what a run asks for.
        run: starts the chosen method on a study of the open case; does nothing where none is chosen.
        shown: called once a case is shown.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        board: Board,
        work: Lane,
        quiet: Lane,
        review: Review,
        results: Results,
        findings: Findings,
        folder: Path,
        client: Callable[[], Client | None],
        settings: Callable[[], PanelSettings],
        reviewer: Callable[[], str],
        run: Callable[[str], None],
        question: Callable[[], RunParameters | None],
        slice_logics: Callable[[], object],
        shown: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._scene = scene
        self._board = board
        self._work = work
        self._quiet = quiet
        self._review = review
        self._results = results
        self._findings = findings
        self._folder = folder
        self._client = client
        self._settings = settings
        self._reviewer = reviewer
        self._run = run
        self._question = question
        self._slice_logics = slice_logics
        self._shown = shown
        self._clock = clock
        self._source: slicer.vtkMRMLScalarVolumeNode | None = None
        self._renew_at = float("inf")
        self._lease_s = UNKNOWN_LEASE_S
        self._resuming: SavedSession | None = None
        self.worklist: WorklistPart | None = None

    @property
    def source(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image of the open case, where it is in the scene."""
        # Its id would not tell: a scene gives the ids of removed nodes to new ones.
        return self._source if self._source is not None and self._source.GetScene() is self._scene else None

    def open(self, image: str) -> None:
        """Take a case and show it; the one that is open is given back, and a run on it is cancelled."""
        client, reviewer = self._client(), self._reviewer()
        if self._work.running == RUN:
            self._work.cancel_for(lambda: self.open(image))
            self._board.change(notice=Notice(_("Leaving the run for {case} ...").format(case=image)))
            return
        try:
            if self._board.state.findings.edited:
                raise not_while_editing()
            if client is None or self._board.state.server is None:
                raise not_connected()
            require_reviewing(self._board.state.server)
            if not reviewer:
                raise no_reviewer()
            loaded = find_study(self._scene, client.address, image)
            work = OpenCaseWork(client, image, reviewer, loaded is None, self._board.state.case.image)
            self._work.submit("open", work, self._opened, lambda error: self._not_opened(image, error))
        except PanelError as error:
            self._board.fail(error)
            return
        self._board.change(busy=True, notice=Notice(_("Opening {case} ...").format(case=image)))

    def close(self, said: Notice | None = None) -> None:
        """Give the open case back and take what is ours of it out of the scene; a run on it is cancelled.

        Args:
            said: why, None where the reader knows.
        """
        client, image = self._client(), self._board.state.case.image
        if not image:
            return
        notice = said or Notice(_("{case} is closed.").format(case=image))
        if self._work.running == RUN:
            # The run may take a while to stop; nothing may be decided under this case meanwhile.
            self._work.cancel_for(lambda: self._board.change(notice=notice))
        if client is not None and not self._quiet.busy:
            self._quiet.submit("release", ReleaseWork(client, image), self._released, lambda error: None)
        self._leave()
        self._shown()
        self._save(SavedSession())
        self._renew_at = float("inf")
        self._board.change(notice=notice)

    def image_is_gone(self) -> None:
        """The scene was closed under the open case: let go of it, and say what is kept."""
        self.close(as_notice(image_closed(self._board.state.case.image)))

    def resume(self, saved: SavedSession) -> None:
        """Open the case that was open when the panel ended, at the same finding."""
        self._resuming = saved
        if self.worklist is not None:
            self.worklist.take_up(saved.order, saved.filter_state, saved.filter_text)
        self.open(saved.image)

    def remember(self, finding_id: str) -> None:
        """Keep on disk where the reader is, for the next start."""
        client, state = self._client(), self._board.state
        question, run = self._question(), state.run
        if client is None or not state.case.image:
            return
        self._save(
            SavedSession(
                address=client.address,
                reviewer=self._reviewer(),
                image=state.case.image,
                finding_id=finding_id,
                order=state.worklist.order,
                filter_text=state.worklist.search,
                filter_state=state.worklist.filter,
                question="" if question is None else question.to_text(),
                threshold="" if run is None else repr(run.threshold),
            )
        )

    def heartbeat(self) -> None:
        """Called every second: renew the lease while the case is open."""
        client, image = self._client(), self._board.state.case.image
        if not image or client is None or self._clock() < self._renew_at or self._quiet.busy:
            return
        self._renew_at = self._clock() + self._lease_s / LEASE_RENEWALS
        work = RenewLeaseWork(client, image, self._reviewer())
        self._quiet.submit("lease", work, self._renewed, self._not_renewed)

    def _opened(self, opened: OpenedCase) -> None:
        self._board.change(busy=False)
        try:
            self._show(opened.image, opened.events, opened)
        except PanelError as error:
            self._give_up(opened.image)
            self._board.fail(error)
            return
        self._renewed(opened.lease)

    def _give_up(self, image: str) -> None:
        """A case that cannot be shown is free for others, and the one that is still open is taken again."""
        still_open = self._board.state.case.image
        if image == still_open:
            return
        if not self._quiet.busy:
            self._quiet.submit("release", ReleaseWork(self._client(), image), self._released, lambda error: None)
        if still_open:
            self._renew_at = self._clock()

    def _show(self, image: str, events: tuple[ReviewEvent, ...], opened: OpenedCase | None) -> None:
        client = self._client()
        # What may fail comes first: the open case stays as it is then.
        events = self._review.with_kept(client.address, image, events)
        source = find_study(self._scene, client.address, image)
        if source is None and opened is not None and opened.study_file is not None:
            source = load_study(self._scene, client.address, opened.study_file)
        self._leave(keep=source)
        self._source = source
        self._board.change(case=CaseState(reasons=self._board.state.case.reasons))
        settings = self._settings()
        self._review.begin(client.address, image, self._reviewer(), events, settings.reading_first)
        self._results.show_case(source)
        warnings = opened.warnings if opened is not None else ()
        if source is not None:
            if opened is not None and opened.mask is not None:
                warnings = (*warnings, *self._show_label(source, opened.mask))
            # Where earlier readers saw a finding is a hint as well.
            show_segments(self._scene, source, not self._board.state.case.hidden)
        fit_to_background(self._slice_logics())
        self._board.change(notice=Notice(" ".join(warnings), is_error=bool(warnings)))
        if self.worklist is not None:
            self.worklist.opened(image)
        self._shown()
        self._come_back_to_finding(image)
        if settings.run_on_open and self._results.run is None:
            self._run(image)

    def _show_label(self, source: slicer.vtkMRMLScalarVolumeNode, mask: bytes) -> tuple[str, ...]:
        """Bring back the segments that were sent, where the scene holds none of this case.

        Returns:
            Why they cannot be shown, if they cannot: the case is reviewed without them then.
        """
        segmentation = self._review.case.segmentation
        if segmentation is None or case_segmentation(self._scene, source) is not None:
            return ()
        try:
            segment_ids = show_mask(self._scene, mask, source, segmentation.segments)
        except PanelError as error:
            return (_("The segments that were sent cannot be shown:"), error.cause, error.remedy)
        node = case_segmentation(self._scene, source)
        tell_findings(node, segment_ids, segmentation.finding_ids)
        mark_sent(node, source)
        return ()

    def _come_back_to_finding(self, image: str) -> None:
        saved, self._resuming = self._resuming, None
        if saved is None or saved.image != image:
            self._results.expect("")
            self._findings.expect("")
            self.remember("")
            return
        # Kept as it was until the finding is there: that may take a run, and Slicer may end before.
        self._results.expect(saved.threshold)
        self._findings.expect(saved.finding_id)

    def _leave(self, keep: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
        """End the open case: its image and results go, all else in the scene stays."""
        self._review.end()
        source, self._source = self.source, None
        self._results.leave_case()
        if source is not None and source is not keep:
            forget_case(self._scene, source)
        self._results.refresh()

    def _not_opened(self, image: str, error: PanelError) -> None:
        self._board.change(busy=False)
        client = self._client()
        if retryable(error) and client is not None and find_study(self._scene, client.address, image) is not None:
            self._show_unconnected(image, error)
            return
        self._board.fail(error)

    def _show_unconnected(self, image: str, error: PanelError) -> None:
        """Go on with what the scene and this computer hold of a case; its lease is asked for as time passes."""
        try:
            self._show(image, (), None)
        except PanelError as worse:
            self._board.fail(worse)
            return
        self._renew_at = self._clock() + self._lease_s / LEASE_RENEWALS
        self._board.change(
            notice=Notice(
                error.cause,
                _("The case is still in the scene: review on, all acts are kept and sent later."),
                is_error=True,
            )
        )

    def _save(self, session: SavedSession) -> None:
        try:
            save(session, self._folder)
        except PanelError as error:
            # Only the way back is lost; acts are kept elsewhere and would have failed by themselves.
            self._board.fail(error)

    def _renewed(self, lease: Lease) -> None:
        self._lease_s = lease.seconds
        self._renew_at = self._clock() + lease.seconds / LEASE_RENEWALS

    def _not_renewed(self, error: PanelError) -> None:
        if not retryable(error):
            self._board.change(notice=as_notice(error))

    def _released(self, _nothing: object) -> None:
        if self.worklist is not None:
            self.worklist.refresh()
