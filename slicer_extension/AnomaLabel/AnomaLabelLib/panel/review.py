"""The reader's acts on findings and case: on disk first, then on the screen, then on their way to the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import PanelError
from ..review import acts
from ..review.acts import ActContext
from ..review.case import fold
from ..review.event import ReviewEvent, together
from ..review.history import History
from ..review.journal import Journal
from ..review.matching import ShownFinding
from ..review.reviewed import CaseReview
from ..scene.runs import Run
from ..translation import _
from .board import Board
from .errors import no_case, no_finding, not_while_editing
from .findings import Findings
from .panel_state import Notice
from .summary import verdict_text

SPOKEN = frozenset({"read_normal", "read_abnormal", "case_normal", "case_abnormal"})
"""Acts after which a reader can no longer be led by the hint."""


class Review:
    """One case under review; every method is for the window's thread.

    Args:
        findings: table and boxes, which follow each act.
        journal: keeps each act before anything else happens.
        kept: called after an act is on disk.
        run: gives the shown run.
        withhold: withholds or shows what the model says.
        leave_editing: leaves a box that is being dragged as it was.
        client: program and version, for the events.
    """

    def __init__(
        self,
        board: Board,
        findings: Findings,
        journal: Journal,
        kept: Callable[[], None],
        run: Callable[[], Run | None],
        withhold: Callable[[bool], None],
        leave_editing: Callable[[], None],
        client: str,
    ) -> None:
        self._board = board
        self._findings = findings
        self._journal = journal
        self._kept = kept
        self._run = run
        self._withhold = withhold
        self._leave_editing = leave_editing
        self._client = client
        self._server = ""
        self._reviewer = ""
        self._events: list[ReviewEvent] = []
        self._case = CaseReview()
        self._history = History()

    @property
    def case(self) -> CaseReview:
        """What readers decided on the open case."""
        return self._case

    @property
    def reviewer(self) -> str:
        """Who reads the open case."""
        return self._reviewer

    def with_kept(self, server: str, image: str, events: Sequence[ReviewEvent]) -> tuple[ReviewEvent, ...]:
        """The events that the server holds, and those that are still on their way to it, oldest first.

        Raises:
            JournalError: nobody can tell which are on their way.
        """
        return tuple(together(events, self._journal.events(server, image)))

    def begin(self, server: str, image: str, reviewer: str, events: Sequence[ReviewEvent], reading_first: bool) -> None:
        """Take up a case.

        Args:
            server: its address.
            image: id of the study.
            reviewer: who reads.
            events: as `with_kept` gives them.
            reading_first: withhold what the model says until this reader has committed an own verdict.
        """
        self._leave_editing()
        self._server, self._reviewer = server, reviewer
        self._events = list(events)
        self._case = fold(self._events)
        self._rebuild_history()
        own = {event.action for event in self._events if event.reviewer == reviewer}
        has_read = not own.isdisjoint(SPOKEN)
        self._board.change(case=replace(self._board.state.case, image=image, hidden=reading_first and not has_read))
        self._withhold(self._board.state.case.hidden)
        self._show()

    def end(self) -> None:
        """Let go of the case; what was decided is kept."""
        self._leave_editing()
        self._events, self._case, self._history = [], CaseReview(), History()
        self._board.change(case=replace(self._board.state.case, image="", hidden=False))
        self._withhold(False)
        self._show()

    def keep(self, make: Callable[[ActContext], ReviewEvent], finding_id: str = "") -> bool:
        """Keep the act on a box that was dragged, and turn to its finding; whether it is kept."""
        return self._act(make, then=finding_id, of_box=True)

    def redraw(self) -> None:
        """Bring table and boxes back to what was decided."""
        self._show()

    def accept(self) -> None:
        """The selected finding is one."""
        self._decide(lambda finding, context: acts.accept(self._case, finding, context))

    def reject(self, reason: str = "") -> None:
        """The selected finding is none.

        Args:
            reason: one of the server's list, "" where the reader gives none.
        """
        self._decide(lambda finding, context: acts.reject(self._case, finding, reason, context))

    def reopen(self) -> None:
        """Take back what was decided: on the selected finding, or on the case where none is selected."""
        if self._board.state.findings.selected:
            self._act(lambda context: acts.reopen(self._case, self._selected(), context))
        else:
            self._act(lambda context: acts.case_reopen(self._case, context))

    def reopen_case(self) -> None:
        """Take back the verdict on the case."""
        self._act(lambda context: acts.case_reopen(self._case, context))

    def case_normal(self) -> None:
        """The whole case shows nothing abnormal; before the hint is shown, that is the reader's own verdict."""
        self._say("normal", acts.case_normal)

    def case_abnormal(self) -> None:
        """The case is abnormal; before the hint is shown, that is the reader's own verdict."""
        self._say("abnormal", acts.case_abnormal)

    def toggle_second_reader(self) -> None:
        """Ask for a second reader, or withdraw the question."""
        self._act(lambda context: acts.second_reader(self._case, context))

    def undo(self) -> None:
        """Take back the last act, as an act of its own."""
        self._step_in_history(self._history.undo)

    def redo(self) -> None:
        """Do again what was taken back."""
        self._step_in_history(self._history.redo)

    def segmented(self, mask_sha256: str, mask: bytes, finding_ids: Sequence[str], names: Sequence[str]) -> bool:
        """Keep a corrected mask as the label of the case; whether it is kept."""
        return self._act(
            lambda context: acts.segmented(self._case, mask_sha256, tuple(finding_ids), tuple(names), context), mask
        )

    def _say(self, verdict: str, act: Callable[[CaseReview, ActContext], ReviewEvent]) -> None:
        if not self._board.state.case.hidden:
            self._act(lambda context: act(self._case, context))
            return
        if self._act(lambda context: acts.read_first(self._case, verdict, context)):
            self._board.change(case=replace(self._board.state.case, hidden=False))
            self._withhold(False)
            self._show()
            self._board.change(
                notice=Notice(
                    _("Your own verdict is kept: {verdict}.").format(verdict=verdict_text(verdict)),
                    _("Now look at what the model says, and give the verdict on the case."),
                )
            )

    def _decide(self, act: Callable[[ShownFinding, ActContext], ReviewEvent]) -> None:
        """An act on the selected finding, after which the next open one comes."""
        if self._act(lambda context: act(self._selected(), context)):
            self._findings.next_open()

    def _act(
        self,
        make: Callable[[ActContext], ReviewEvent],
        mask: bytes | None = None,
        then: str = "",
        of_box: bool = False,
    ) -> bool:
        """Make an event, keep it and show what it changes; whether it is kept."""
        before = self._case
        try:
            self._require_case()
            if not of_box:
                self._require_no_box()
            event = make(self._context())
            self._keep(event, mask)
        except PanelError as error:
            self._board.fail(error)
            return False
        self._history.note(event, before)
        self._after(then or event.finding_id or "")
        return True

    def _step_in_history(self, step: Callable[[CaseReview, ActContext], ReviewEvent | None]) -> None:
        try:
            self._require_case()
            self._require_no_box()
            event = step(self._case, self._context())
        except PanelError as error:
            # What cannot be taken back is out of the history now.
            self._show()
            self._board.fail(error)
            return
        if event is None:
            self._board.change(notice=Notice(_("There is nothing to take back or to do again.")))
            return
        try:
            self._keep(event, None)
        except PanelError as error:
            self._rebuild_history()
            self._show()
            self._board.fail(error)
            return
        self._after(event.finding_id or "")

    def _rebuild_history(self) -> None:
        own = [event for event in self._events if event.reviewer == self._reviewer]
        self._history = History.rebuilt(own, self._events)

    def _keep(self, event: ReviewEvent, mask: bytes | None) -> None:
        self._journal.append(self._server, event, mask)
        self._events.append(event)
        self._case = fold(self._events)

    def _after(self, finding_id: str) -> None:
        self._board.change(notice=Notice(""))
        self._show()
        if finding_id and self._findings.find(finding_id) is not None:
            self._findings.select(finding_id)
        self._kept()

    def _show(self) -> None:
        self._findings.take_case(self._case)
        case = self._case
        # What another reader said of the case is a hint as well.
        said = "" if self._board.state.case.hidden else case.verdict or ""
        self._board.change(
            case=replace(
                self._board.state.case,
                verdict=said,
                verdict_text=verdict_text(said, case.verdict_by or "", case.verdict_utc),
                own_verdict=case.own_verdict_of(self._reviewer) or "",
                second_reader=case.second_reader,
                undo=self._history.undo_text,
                redo=self._history.redo_text,
            )
        )

    def _require_case(self) -> None:
        if not self._board.state.case.image:
            raise no_case()

    def _require_no_box(self) -> None:
        if self._board.state.findings.edited:
            raise not_while_editing()

    def _selected(self) -> ShownFinding:
        found = self._findings.find(self._board.state.findings.selected)
        if found is None:
            raise no_finding()
        return found

    def _context(self) -> ActContext:
        run = self._run()
        told = json.loads(run.report.text) if run else {}
        return ActContext(
            image=self._board.state.case.image,
            reviewer=self._reviewer,
            client=self._client,
            findings_sha256=hashlib.sha256(run.report.text.encode()).hexdigest() if run else None,
            model=told.get("model"),
            prompts=told.get("prompts"),
        )
