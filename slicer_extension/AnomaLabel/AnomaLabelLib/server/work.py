"""The jobs of the panel: they speak to the server and know neither scene nor window."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import PanelError, RunCancelledError, ServerNotReadyError
from .client import Client, InferenceResult, StudyFile
from .jobs import JobContext
from .parameters import RunParameters
from .server_facts import ServerFacts

WATCH_INTERVAL_S = 0.5


@dataclass(frozen=True)
class RunResult:
    """The answer to one run; `study_file` is the image itself where the scene does not hold it yet."""

    inference: InferenceResult
    study_file: StudyFile | None = None


@dataclass(frozen=True)
class ConnectWork:
    """Ask a server what it offers, and whether its model is warm."""

    client: Client

    def __call__(self, context: JobContext) -> ServerFacts:
        facts = dataclasses.replace(self.client.info(), studies=self.client.studies())
        try:
            self.client.ready()
        except ServerNotReadyError as error:
            return dataclasses.replace(facts, waiting_for=error.cause)
        return facts


@dataclass(frozen=True)
class RunWork:
    """Have one image looked at.

    Args:
        image: id of a study of the server, or path of a file of this computer.
        download: fetch the study too, to show it.
    """

    client: Client
    parameters: RunParameters
    image: str | Path
    download: bool = False
    watch_interval_s: float = WATCH_INTERVAL_S

    def __call__(self, context: JobContext) -> RunResult:
        study_file = self.client.download_study(self.image) if self.download else None
        if context.cancelled.is_set():
            raise RunCancelledError
        request_id = str(uuid.uuid4())
        with self._watch(request_id, context):
            inference = self.client.infer(self.parameters, request_id, self.image)
        if context.cancelled.is_set():
            raise RunCancelledError
        return RunResult(inference, study_file)

    @contextmanager
    def _watch(self, request_id: str, context: JobContext) -> Iterator[None]:
        """Report progress and pass a cancellation on while the run's own call waits for its answer."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._follow, args=(request_id, context, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()

    def _follow(self, request_id: str, context: JobContext, ended: threading.Event) -> None:
        while not ended.wait(self.watch_interval_s):
            try:
                if context.cancelled.is_set():
                    self.client.cancel(request_id)
                else:
                    context.report(*self.client.progress(request_id))
            except PanelError:
                # The server may not know the run yet; the run's own call tells of anything that matters.
                continue
