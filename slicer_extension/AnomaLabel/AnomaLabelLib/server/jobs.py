"""Work away from the window: one job at a time on a thread of its own that never touches MRML or Qt."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import BusyError, InternalError, PanelError, RunCancelledError


@dataclass(frozen=True)
class Progress:
    """A running job has done `done` of `total` steps."""

    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """A job has ended well."""

    name: str
    value: Any


@dataclass(frozen=True)
class Failed:
    """A job has ended with an error for the user."""

    name: str
    error: PanelError


Outcome = Progress | Finished | Failed


class JobContext:
    """What a job sees of its surroundings.

    Attributes:
        cancelled: set once the user wants the job to stop.
    """

    def __init__(self, outbox: queue.Queue[Outcome]) -> None:
        self.cancelled = threading.Event()
        self._outbox = outbox

    def report(self, done: int, total: int) -> None:
        """Tell how far the job is."""
        self._outbox.put(Progress(done, total))


Work = Callable[[JobContext], Any]


class Jobs:
    """Runs one job at a time; all its methods are for the window's thread.

    Args:
        grace_s: a cancelled job that has not ended after this time is left to itself and counts as ended,
            since a thread that waits for a dead connection cannot be stopped.
    """

    def __init__(self, grace_s: float = 3.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._clock = clock
        self._name = ""
        self._context: JobContext | None = None
        self._outbox: queue.Queue[Outcome] = queue.Queue()
        self._abandon_at = float("inf")

    @property
    def busy(self) -> bool:
        """Whether a job runs or its end was not yet taken."""
        return self._context is not None

    def submit(self, name: str, work: Work) -> None:
        """Start a job.

        Raises:
            BusyError: another one runs.
        """
        if self.busy:
            raise BusyError
        # A queue of its own: what an abandoned job says later reaches nobody.
        self._outbox = queue.Queue()
        self._context = JobContext(self._outbox)
        self._name = name
        self._abandon_at = float("inf")
        threading.Thread(
            target=_perform, args=(name, work, self._context, self._outbox), name=f"AnomaLabel {name}", daemon=True
        ).start()

    def cancel(self) -> None:
        """Ask the running job to stop; its end still comes through `take`."""
        if self._context is not None and not self._context.cancelled.is_set():
            self._context.cancelled.set()
            self._abandon_at = self._clock() + self._grace_s

    def take(self, timeout_s: float = 0.005) -> Outcome | None:
        """The next thing a job has to say, or None.

        Waiting a few milliseconds releases the interpreter lock, without which the job's thread starves.
        """
        if not self.busy:
            return None
        try:
            outcome = self._outbox.get(timeout=timeout_s)
        except queue.Empty:
            if self._clock() < self._abandon_at:
                return None
            outcome = Failed(self._name, RunCancelledError())
        if not isinstance(outcome, Progress):
            self._context = None
        return outcome


def _perform(name: str, work: Work, context: JobContext, outbox: queue.Queue[Outcome]) -> None:
    outcome: Outcome = Failed(name, InternalError())
    try:
        outcome = Finished(name, work(context))
    except PanelError as error:
        outcome = Failed(name, error)
    finally:
        # Any other error goes on to the Python console, and the panel still learns that the job has ended.
        outbox.put(outcome)
