"""Loading the models in the background, and what /ready says meanwhile."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from fastapi import HTTPException

from anomalabel.errors import AnomaLabelError
from monailabel_app.infers.detection_task import Detecting

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5


class WarmUp:
    """Warms one backbone after the other on a thread of its own.

    Args:
        pipeline: what is warmed.
        backbones: in this order.
    """

    def __init__(self, pipeline: Detecting, backbones: tuple[str, ...]) -> None:
        self.backbones = backbones
        self._pipeline = pipeline
        self._current = backbones[0]
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="warm-up")
        self._work: Future[None] = self._executor.submit(self._warm)
        self._work.add_done_callback(_log_failure)

    @property
    def reason(self) -> str:
        """Why the server is not ready; "" once it is."""
        if not self._work.done():
            return f"The model {self._current} is being loaded. Ask again in a few seconds."
        error = self._work.exception()
        if error is None:
            return ""
        if isinstance(error, AnomaLabelError):
            return f"The model {self._current} could not be loaded. {error}"
        return f"The model {self._current} could not be loaded: {type(error).__name__}. The server's log says more."

    def require(self) -> None:
        """Let a request pass once everything is loaded.

        Raises:
            HTTPException: 503 with the reason.
        """
        if self.reason:
            raise HTTPException(503, self.reason, {"Retry-After": str(RETRY_SECONDS)})

    def close(self) -> None:
        """Start no further work; a model that is being loaded is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _warm(self) -> None:
        for backbone in self.backbones:
            self._current = backbone
            self._pipeline.warm(backbone)


def _log_failure(work: Future[None]) -> None:
    error = None if work.cancelled() else work.exception()
    if error is not None:
        logger.error("Warming the models failed.", exc_info=error)
