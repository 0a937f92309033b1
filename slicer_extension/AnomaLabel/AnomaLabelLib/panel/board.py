"""What the parts of the panel share: the state with who draws it, and the lanes that work runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import PanelError
from ..server.jobs import Failed, Finished, Jobs, Progress, Work
from .panel_state import Notice, PanelState


class Board:
    """The panel's state; every change is drawn.

    Args:
        draw: is given each new state.
    """

    def __init__(self, draw: Callable[[PanelState], None]) -> None:
        self.state = PanelState()
        self._draw = draw

    def change(self, **changes: object) -> None:
        """Replace fields of the state and draw it."""
        self.state = replace(self.state, **changes)
        self._draw(self.state)

    def fail(self, error: PanelError) -> None:
        """Show an error in the line that tells of the last act."""
        self.change(notice=as_notice(error))


class Lane:
    """One job at a time, with what is to be done at its end; for the window's thread.

    Args:
        jobs: runs the work on a thread of its own.
    """

    def __init__(self, jobs: Jobs | None = None) -> None:
        self._jobs = jobs or Jobs()
        self._finished: Callable[[Any], None] = _ignore
        self._failed: Callable[[PanelError], None] = _ignore
        self._progress: Callable[[int, int], None] = _ignore
        self._name = ""
        self._next: Callable[[], None] | None = None

    @property
    def running(self) -> str:
        """Name of the job that runs, "" where none does."""
        return self._name if self.busy else ""

    @property
    def busy(self) -> bool:
        """Whether `tick` has to be called on."""
        return self._jobs.busy

    def submit(
        self,
        name: str,
        work: Work,
        finished: Callable[[Any], None],
        failed: Callable[[PanelError], None],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Start a job.

        Args:
            finished: is given the job's value.
            failed: is given what went wrong.
            progress: is given (done, total).

        Raises:
            BusyError: another one runs on this lane.
        """
        self._jobs.submit(name, work)
        self._name = name
        self._finished, self._failed, self._progress = finished, failed, progress or _ignore

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self._next = None
        self._jobs.cancel()

    def cancel_for(self, following: Callable[[], None]) -> None:
        """Ask the running job to stop, and do something else once it has."""
        self._jobs.cancel()
        self._next = following

    def tick(self) -> None:
        """Take what the running job has to say."""
        outcome = self._jobs.take()
        if isinstance(outcome, Progress):
            self._progress(outcome.done, outcome.total)
        elif isinstance(outcome, Finished):
            self._finished(outcome.value)
        elif isinstance(outcome, Failed):
            self._failed(outcome.error)
        if self._next is not None and not self.busy:
            following, self._next = self._next, None
            following()


def as_notice(error: PanelError) -> Notice:
    """An error as the panel shows it."""
    return Notice(error.cause, error.remedy, is_error=True)


def _ignore(*_values: object) -> None:
    """Nothing is to be done."""
