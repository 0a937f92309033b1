"""One training at a time, on a thread of its own beside inference.

MONAI Label's own manager starts a second process that loads the app and every model anew, tells no progress but log
lines, is found again by nobody when the server is killed, and goes on writing then. A thread shares the loaded
encoders, tells how far it is, can be cancelled between two steps, and ends with its server; torch leaves the
interpreter to inference while it computes.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from anomalabel.errors import AnomaLabelError, Cancelled
from monailabel_app.trainers.local_training import Watch
from monailabel_app.trainers.status import TrainingStatus, last_status, save_status
from monailabel_app.trainers.time_left import TimeLeft

logger = logging.getLogger(__name__)

CANCELLING = "cancelling"


class TrainingRunning(AnomaLabelError):
    """A training runs and only one may run at a time; answered with 409."""

    def __init__(self) -> None:
        super().__init__("A training is running.", "Wait for it (GET /train/), or cancel it (DELETE /train/).")


class BackgroundTraining:
    """Runs trainings and knows how far the last one is; its methods may be called from several threads.

    Args:
        status_file: keeps the last status, so that a server that was killed says so when it starts again.
        clock: seconds that never go back.
    """

    def __init__(self, status_file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._status_file = status_file
        self._clock = clock
        self._began = 0.0
        self._time_left = TimeLeft()
        self._change = threading.Lock()
        self._cancelled = threading.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="training")
        self._status = last_status(status_file)
        self._running = False

    @property
    def status(self) -> TrainingStatus | None:
        """Of the training that runs or ran last; None where there was none."""
        with self._change:
            return self._timed(self._status) if self._running and self._status else self._status

    @property
    def running(self) -> bool:
        """Whether one runs now."""
        return self._running

    def require_idle(self) -> None:
        """Raise TrainingRunning where one runs."""
        if self._running:
            raise TrainingRunning

    def start(
        self, task: str, request: dict[str, Any], work: Callable[[Watch], dict[str, Any]], resumes: bool = False
    ) -> TrainingStatus:
        """Start a training and return at once.

        Args:
            task: name of the train task.
            request: as it is shown in the status.
            work: trains; gives its report.
            resumes: whether the same request goes on where a server that ended left it.

        Raises:
            TrainingRunning: another one runs.
            OutputError: the studies folder cannot be written to.
        """
        with self._change:
            self.require_idle()
            started = TrainingStatus(model=task, request=request, resumes=resumes)
            save_status(self._status_file, started)
            self._began, self._time_left = self._clock(), TimeLeft()
            self._status = started
            self._running = True
            self._cancelled.clear()
        future = self._executor.submit(work, self._watch)
        future.add_done_callback(self._finish)
        return started.timed(0.0, None)

    def cancel(self) -> TrainingStatus | None:
        """Ask the running training to stop at its next step; None where none runs."""
        with self._change:
            if not self._running or self._status is None:
                return None
            self._cancelled.set()
            self._status = self._status.at(CANCELLING, self._status.done, self._status.total)
            self._time_left = TimeLeft()
            return self._timed(self._status)

    def close(self) -> None:
        """End with the server: a running training stops at its next step and is not waited for."""
        self.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _watch(self, stage: str, done: int, total: int) -> None:
        with self._change:
            if self._cancelled.is_set():
                raise Cancelled
            if self._status is not None:
                self._status = self._status.at(stage, done, total)
                self._time_left.note(stage, done, total, self._clock())

    def _timed(self, status: TrainingStatus) -> TrainingStatus:
        now = self._clock()
        return status.timed(now - self._began, self._time_left.seconds(now))

    def _finish(self, work: Future[dict[str, Any]]) -> None:
        with self._change:
            ended = None if self._status is None else _outcome(self._timed(self._status), work)
            try:
                if ended is not None:
                    save_status(self._status_file, ended)
            except AnomaLabelError:
                logger.exception("The end of the training could not be noted.")
            finally:
                # Together: whoever reads the end may start the next training at once.
                self._status, self._running = ended, False


def _outcome(status: TrainingStatus, work: Future[dict[str, Any]]) -> TrainingStatus:
    error = CancelledError() if work.cancelled() else work.exception()
    if error is None:
        return status.ended("DONE", "The new model is in use.", work.result())
    if isinstance(error, (Cancelled, CancelledError)):
        goes_on = " The same request goes on from its last checkpoint." if status.resumes else ""
        return status.ended("STOPPED", f"The training was cancelled; a model from before stays in use.{goes_on}")
    if isinstance(error, AnomaLabelError):
        return status.ended("ERROR", str(error))
    fault = uuid.uuid4().hex[:8]
    logger.error("Fault %s in training", fault, exc_info=error)
    kind = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else type(error).__name__
    return status.ended("ERROR", f"The training failed ({kind}); the server's log says why under {fault}.")
