"""One work of a kind at a time, on a thread of its own beside inference.

MONAI Label's own manager starts a second process that loads the app and every model anew, tells no progress but log
lines, is found again by nobody when the server is killed, and goes on writing then. A thread shares the loaded
models, tells how far it is, can be cancelled between two steps, and ends with its server; torch leaves the
interpreter to the others while it computes.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from anomalabel.errors import AnomaLabelError, Cancelled
from monailabel_app.background.status import WorkStatus, last_status, save_status
from monailabel_app.background.time_left import TimeLeft

logger = logging.getLogger(__name__)

CANCELLING = "cancelling"

Watch = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all; may raise Cancelled."""


class WorkRunning(AnomaLabelError):
    """A work of this kind runs and only one may run at a time; answered with 409."""

    def __init__(self, kind: str, route: str) -> None:
        super().__init__(f"A {kind} is running.", f"Wait for it (GET {route}), or cancel it (DELETE {route}).")


class BackgroundWork(ABC):
    """Runs works of one kind and knows how far the last one is; its methods may be called from several threads.

    Args:
        status_file: keeps the last status, so that a server that was killed says so when it starts again.
        clock: seconds that never go back.
    """

    kind: ClassVar[str]
    """What one of them is called, e.g. "training"."""

    route: ClassVar[str]
    """Where a client asks for its status and cancels it."""

    def __init__(self, status_file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._status_file = status_file
        self._clock = clock
        self._began = 0.0
        self._time_left = TimeLeft()
        self._change = threading.Lock()
        self._cancelled = threading.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=self.kind)
        last = last_status(status_file)
        # Its server is gone, so it is no longer running.
        interrupted = last is not None and last.status == "RUNNING"
        self._status = last.ended("ERROR", self.interrupted(last)) if last is not None and interrupted else last
        self._running = False

    @abstractmethod
    def finished(self, report: dict[str, Any]) -> str:
        """What to say of one that came to its end."""

    @abstractmethod
    def stopped(self, status: WorkStatus) -> str:
        """What to say of one that was cancelled."""

    @abstractmethod
    def interrupted(self, status: WorkStatus) -> str:
        """What to say of one that its server did not survive."""

    @property
    def status(self) -> WorkStatus | None:
        """Of the work that runs or ran last; None where there was none."""
        with self._change:
            return self._timed(self._status) if self._running and self._status else self._status

    @property
    def running(self) -> bool:
        """Whether one runs now."""
        return self._running

    @property
    def cancelling(self) -> bool:
        """Whether the running one was asked to stop."""
        return self._cancelled.is_set()

    def require_idle(self) -> None:
        """Raise WorkRunning where one runs."""
        if self._running:
            raise WorkRunning(self.kind, self.route)

    def start(
        self, task: str, request: dict[str, Any], work: Callable[[Watch], dict[str, Any]], resumes: bool = False
    ) -> WorkStatus:
        """Start one and return at once.

        Args:
            task: name of the train or infer task.
            request: as it is shown in the status.
            work: does it; gives its report.
            resumes: whether the same request goes on where a server that ended left it.

        Raises:
            WorkRunning: another one runs.
            OutputError: the studies folder cannot be written to.
        """
        with self._change:
            self.require_idle()
            started = WorkStatus(model=task, request=request, resumes=resumes)
            save_status(self._status_file, started)
            self._began, self._time_left = self._clock(), TimeLeft()
            self._status = started
            self._running = True
            self._cancelled.clear()
        future = self._executor.submit(work, self._watch)
        future.add_done_callback(self._finish)
        return started.timed(0.0, None)

    def tell(self, line: str) -> None:
        """Add a line to the details of the running work."""
        with self._change:
            if self._running and self._status is not None:
                self._status = self._status.told(line)

    def cancel(self) -> WorkStatus | None:
        """Ask the running work to stop at its next step; None where none runs."""
        with self._change:
            if not self._running or self._status is None:
                return None
            self._cancelled.set()
            self._status = self._status.at(CANCELLING, self._status.done, self._status.total)
            self._time_left = TimeLeft()
            return self._timed(self._status)

    def close(self) -> None:
        """End with the server: a running work stops at its next step and is not waited for."""
        self.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _watch(self, stage: str, done: int, total: int) -> None:
        with self._change:
            if self._cancelled.is_set():
                raise Cancelled
            if self._status is not None:
                self._status = self._status.at(stage, done, total)
                self._time_left.note(stage, done, total, self._clock())

    def _timed(self, status: WorkStatus) -> WorkStatus:
        now = self._clock()
        return status.timed(now - self._began, self._time_left.seconds(now))

    def _finish(self, work: Future[dict[str, Any]]) -> None:
        with self._change:
            ended = None if self._status is None else self._outcome(self._timed(self._status), work)
            try:
                if ended is not None:
                    save_status(self._status_file, ended)
            except AnomaLabelError:
                logger.exception("The end of the %s could not be noted.", self.kind)
            finally:
                # Together: whoever reads the end may start the next one at once.
                self._status, self._running = ended, False

    def _outcome(self, status: WorkStatus, work: Future[dict[str, Any]]) -> WorkStatus:
        error = CancelledError() if work.cancelled() else work.exception()
        if error is None:
            return status.ended("DONE", self.finished(work.result()), work.result())
        if isinstance(error, (Cancelled, CancelledError)):
            return status.ended("STOPPED", self.stopped(status))
        return status.ended("ERROR", reason_of(error, f"The {self.kind}"))


def reason_of(error: BaseException, what: str) -> str:
    """Why something failed, for people; the traceback of a fault of our own goes to the log.

    Args:
        what: what failed, e.g. "The training".
    """
    if isinstance(error, AnomaLabelError):
        return str(error)
    fault = uuid.uuid4().hex[:8]
    logger.error("Fault %s: %s failed", fault, what, exc_info=error)
    name = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"{what} failed ({name}); the server's log says why under {fault}."
