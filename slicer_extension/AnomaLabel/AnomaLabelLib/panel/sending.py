"""Sends what was reviewed: from this computer's disk to the server, as soon as it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..errors import PanelError
from ..review.journal import Journal
from ..server.backoff import next_delay
from ..server.client import Client
from ..server.outbox import SendWork, Sent
from ..translation import _
from .board import Board, Lane, as_notice
from .panel_state import Notice, OutboxState


class Sending:
    """Empties the queue on disk; the reader never waits for it.

    Args:
        lane: of its own, so that a long run does not hold reviews up.
        client: gives the connected client, None while there is none.
        sent: called after something has arrived at the server.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        board: Board,
        lane: Lane,
        journal: Journal,
        client: Callable[[], Client | None],
        sent: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._board = board
        self._lane = lane
        self._journal = journal
        self._client = client
        self._sent = sent
        self._clock = clock
        self._delay_s = 0.0
        self._retry_at = float("-inf")
        self._error: PanelError | None = None

    def kick(self) -> None:
        """Send now what is waiting, unless it is being sent."""
        client = self._client()
        try:
            if client is not None and not self._lane.busy and self._waiting(client.address):
                self._retry_at = float("inf")
                self._lane.submit("send", SendWork(client, self._journal), self._arrived, self._failed)
        except PanelError as error:
            self._unreadable(error)
            return
        self.show()

    def resend(self) -> None:
        """Send again what this server refused, now that what it complained about is mended."""
        try:
            self._journal.requeue(self._address())
        except PanelError as error:
            self._board.fail(error)
            return
        self.kick()

    def heartbeat(self) -> None:
        """Called every second: try again once the wait after a failure is over."""
        if self._clock() >= self._retry_at:
            self.kick()

    def show(self) -> None:
        """Tell how much is waiting."""
        try:
            waiting = dict(self._journal.waiting())
            reasons = tuple(refusal.reason for refusal in self._journal.refused(self._address()))
        except PanelError as error:
            self._unreadable(error)
            return
        pending = waiting.pop(self._address(), 0)
        outbox = OutboxState(pending, len(reasons), reasons, self._notice(pending, len(reasons), waiting))
        if outbox != self._board.state.outbox:
            self._board.change(outbox=outbox)

    def _unreadable(self, error: PanelError) -> None:
        """The folder of the acts is out of reach, which asking again at once would not change."""
        self._delay_s = next_delay(self._delay_s)
        self._retry_at = self._clock() + self._delay_s
        outbox = replace(self._board.state.outbox, notice=as_notice(error))
        if outbox != self._board.state.outbox:
            self._board.change(outbox=outbox)

    def _waiting(self, address: str) -> int:
        return self._journal.waiting().get(address, 0)

    def _address(self) -> str:
        client = self._client()
        return client.address if client else self._board.state.address

    def _arrived(self, sent: Sent) -> None:
        self._error, self._delay_s = None, 0.0
        # Acts that came in while this batch was under way go with the next one.
        self._retry_at = self._clock()
        self._sent()
        self.show()

    def _failed(self, error: PanelError) -> None:
        self._error = error
        self._delay_s = next_delay(self._delay_s)
        self._retry_at = self._clock() + self._delay_s
        self.show()

    def _notice(self, pending: int, refused: int, elsewhere: Mapping[str, int]) -> Notice:
        if pending and self._error is not None:
            cause = _("Kept on this computer and not sent yet: {count}. {why}").format(
                count=pending, why=self._error.cause
            )
            return Notice(cause, _("Go on reviewing; they are sent once the server answers."), is_error=True)
        if refused:
            return Notice(
                _("Refused by the server, and kept on this computer: {count}.").format(count=refused),
                _("The tab Settings says why. Once that is mended, send them again there."),
                is_error=True,
            )
        if pending:
            return Notice(_("On the way to the server: {count}").format(count=pending))
        for address, count in elsewhere.items():
            return Notice(
                _("Kept on this computer for another server, {address}: {count}.").format(address=address, count=count),
                _("They are sent once you connect there."),
            )
        return Notice("")
