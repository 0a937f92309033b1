"""The worklist: the server's cases in their order, and which of them this panel has open."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from ..errors import PanelError, SceneError
from ..server.case_work import WorklistWork
from ..server.client import Client
from ..server.worklist import CASE_STATES, Worklist, WorklistCase
from ..translation import _
from .board import Board, Lane, as_notice
from .panel_state import Notice

ALL = "all"
NOT_REVIEWED = "not_reviewed"
REVIEWED = "reviewed"
FILTERS = (ALL, NOT_REVIEWED, *CASE_STATES)
REFRESH_S = 30.0


class WorklistPart:
    """Acts on the list of cases.

    Args:
        lane: asks the server without keeping the user from working.
        client: gives the connected client, None while there is none.
        open_case: opens a case by its image id.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        board: Board,
        lane: Lane,
        client: Callable[[], Client | None],
        open_case: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._board = board
        self._lane = lane
        self._client = client
        self._open_case = open_case
        self._clock = clock
        self._asked_at = float("-inf")
        self._asked_order = ""
        self._place = -1
        # One shuffle a session: the order stays while the reader works through it.
        self._seed = random.SystemRandom().randrange(1 << 31)

    def refresh(self) -> None:
        """Ask the server for the list again; soon, where it is being asked already."""
        client = self._client()
        if client is None or not self._reviews_offered():
            return
        if self._lane.busy:
            self._asked_at = float("-inf")
            return
        self._asked_at, self._asked_order = self._clock(), self._board.state.worklist.order
        work = WorklistWork(client, self._asked_order, self._seed)
        self._lane.submit("worklist", work, self._arrived, self._failed)
        # The window asks after running jobs only from its last drawing on.
        self._board.change()

    def heartbeat(self) -> None:
        """Called every second: keep the list young while it is looked at."""
        if self._clock() - self._asked_at >= REFRESH_S:
            self.refresh()

    def set_order(self, order: str) -> None:
        """Ask for another order, one of the server's."""
        self._change(order=order)
        self._place = -1
        self.refresh()

    def set_filter(self, state: str) -> None:
        """Show "all" cases, those that are "not_reviewed", or those in one state."""
        self._change(filter=state)

    def set_search(self, text: str) -> None:
        """Show the cases whose name contains a text, in whatever case."""
        self._change(search=text)

    def take_up(self, order: str, state: str, text: str) -> None:
        """Go on with the choices of the last session; those that were not made stay as they are."""
        now = self._board.state.worklist
        # A newer version may have kept a filter that is not known here.
        self._change(order=order or now.order, filter=state if state in FILTERS else now.filter, search=text)

    def open(self, image: str) -> None:
        """Open a case."""
        self._open_case(image)

    def next(self) -> None:
        """Open the next case that nobody else has open."""
        self._step(1)

    def previous(self) -> None:
        """Open the case before."""
        self._step(-1)

    def opened(self, image: str) -> None:
        """A case was opened: remember its place, so that next goes on from there."""
        place = self._place_of(image)
        self._place = place if place >= 0 else self._place
        self.refresh()

    def _step(self, direction: int) -> None:
        cases = self._board.state.worklist.cases
        here = self._place_of(self._board.state.case.image)
        # A reviewed case may have dropped out of the filter: whatever stands in its place now comes next.
        place = here + direction if here >= 0 else self._place if direction > 0 else self._place - 1
        place = max(place, 0) if direction > 0 else place
        while 0 <= place < len(cases):
            if not _taken(cases[place]):
                self._place = place
                self._open_case(cases[place].image)
                return
            place += direction
        self._board.fail(_at_the_end(direction, bool(cases)))

    def _place_of(self, image: str) -> int:
        cases = self._board.state.worklist.cases
        return next((place for place, case in enumerate(cases) if case.image == image), -1)

    def _reviews_offered(self) -> bool:
        server = self._board.state.server
        return server is not None and server.reviewing

    def _arrived(self, worklist: Worklist) -> None:
        if self._board.state.worklist.order != self._asked_order:
            # Another order was picked while this one was on its way.
            self.refresh()
            return
        notes = " ".join(worklist.notes)
        self._change(worklist=worklist, order=worklist.order, notice=Notice(notes))

    def _failed(self, error: PanelError) -> None:
        self._change(notice=as_notice(error))

    def _change(self, **changes: object) -> None:
        state = replace(self._board.state.worklist, **changes)
        known = state.worklist.cases if state.worklist else ()
        shown = tuple(case for case in known if _passes(case, state.filter, state.search))
        self._board.change(worklist=replace(state, cases=shown))


def _passes(case: WorklistCase, wanted: str, search: str) -> bool:
    fits = wanted == ALL or case.state == wanted or (wanted == NOT_REVIEWED and case.state != REVIEWED)
    return fits and search.strip().lower() in case.image.lower()


def _taken(case: WorklistCase) -> bool:
    return case.lease is not None and not case.lease.mine


def _at_the_end(direction: int, any_case: bool) -> SceneError:
    if not any_case:
        return SceneError(_("The worklist shows no case."), _("Change filter or search, or press Refresh."))
    if direction > 0:
        return SceneError(_("This was the last case of the list."), _("Change filter or order, or press Refresh."))
    return SceneError(_("This was the first case of the list."), _("Press Next, or pick a case in the list."))
