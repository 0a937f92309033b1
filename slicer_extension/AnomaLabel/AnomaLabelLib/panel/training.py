"""Starting and watching what the server does in the background: a training, and the scoring of its studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..errors import PanelError, SceneError
from ..server.client import Client
from ..server.jobs import JobContext
from ..server.training import DONE, TrainingFacts
from ..translation import _
from .board import Board, Lane, as_notice
from .panel_state import Notice

WATCH_S = 2.0


@dataclass(frozen=True)
class BackgroundFacts:
    """The last training and the last scoring, None where there was none."""

    training: TrainingFacts | None
    scoring: TrainingFacts | None


@dataclass(frozen=True)
class AskBackground:
    """Ask how far training and scoring are, after doing something about them.

    Args:
        first: what to do, None for asking alone.
    """

    client: Client
    first: Callable[[], object] | None = None

    def __call__(self, context: JobContext) -> BackgroundFacts:
        if self.first is not None:
            self.first()
        return BackgroundFacts(self.client.training(), self.client.scoring())


class TrainingPart:
    """Acts on the server's trainings; the server goes on with them when the panel is closed.

    Args:
        lane: asks the server without keeping the user from working.
        client: gives the connected client, None while there is none.
        trained: called once a training has ended well, since there is a new model to choose.
        scored: called once a scoring has ended, since the worklist can be ordered anew.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        board: Board,
        lane: Lane,
        client: Callable[[], Client | None],
        trained: Callable[[], None],
        scored: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._board = board
        self._lane = lane
        self._client = client
        self._trained = trained
        self._scored = scored
        self._clock = clock
        self._asked_at = float("-inf")

    def start(self, task: str, params: Mapping[str, object]) -> None:
        """Start a training.

        Args:
            task: one of the server's train tasks.
            params: what the task takes, `config` at least.
        """
        self._ask(lambda client: client.start_training(task, params), needed=True)

    def cancel(self) -> None:
        """Cancel the running training; a model from before stays in use."""
        self._ask(lambda client: client.cancel_training(), needed=True)

    def start_scoring(self, task: str, params: Mapping[str, object]) -> None:
        """Have a method look at the cases that the worklist shows, so that they can be ordered by it.

        Where the list is filtered, all shown cases are scored anew; where it is not, those without a score are.
        """
        listed = self._board.state.worklist
        known = listed.worklist.cases if listed.worklist else ()
        shown = [case.image for case in listed.cases]
        chosen = {**params, "images": shown} if len(shown) < len(known) else dict(params)
        self._ask(lambda client: client.start_scoring(task, chosen), needed=True)

    def cancel_scoring(self) -> None:
        """Stop the running scoring; what it has scored stays."""
        self._ask(lambda client: client.cancel_scoring(), needed=True)

    def refresh(self) -> None:
        """Ask how far they are."""
        self._ask(None, needed=False)

    def heartbeat(self) -> None:
        """Called every second: watch what runs."""
        state = self._board.state.training
        runs = any(facts is not None and facts.running for facts in (state.training, state.scoring))
        if runs and self._clock() - self._asked_at >= WATCH_S:
            self.refresh()

    def _ask(self, first: Callable[[Client], object] | None, needed: bool) -> None:
        client = self._client()
        if client is None or self._lane.busy:
            if needed:
                self._change(notice=as_notice(_not_now(client is None)))
            return
        self._asked_at = self._clock()
        work = AskBackground(client, None if first is None else lambda: first(client))
        self._lane.submit("training", work, self._arrived, self._failed)
        # The window asks after running jobs only from its last drawing on.
        self._board.change()

    def _arrived(self, facts: BackgroundFacts) -> None:
        before = self._board.state.training
        self._change(training=facts.training, scoring=facts.scoring, notice=Notice(""))
        if _has_ended(before.training, facts.training) and facts.training.status == DONE:
            self._trained()
        if _has_ended(before.scoring, facts.scoring):
            self._scored()

    def _failed(self, error: PanelError) -> None:
        self._change(notice=as_notice(error))

    def _change(self, **changes: object) -> None:
        self._board.change(training=replace(self._board.state.training, **changes))


def _has_ended(before: TrainingFacts | None, now: TrainingFacts | None) -> bool:
    return before is not None and before.running and now is not None and not now.running


def _not_now(unconnected: bool) -> PanelError:
    if unconnected:
        return SceneError(_("No server is connected."), _("Press Connect first."))
    return SceneError(_("The server has not answered the last question yet."), _("Try again in a moment."))
