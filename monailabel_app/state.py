"""What lives as long as the server: app, queue, warm-up, training, scoring and the temporary folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from anomalabel.errors import ModelError
from monailabel_app.infers.detection_task import DetectionTask
from monailabel_app.jobs import InferenceQueue
from monailabel_app.main import AnomaLabelApp
from monailabel_app.readiness import WarmUp
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.safety.names import shortened
from monailabel_app.scoring.background import BackgroundScoring
from monailabel_app.settings import ServerSettings
from monailabel_app.trainers.background import BackgroundTraining
from monailabel_app.trainers.local_training import LearningTask


@dataclass(frozen=True)
class ServerState:
    """Handed to every route.

    Args:
        settings: of this server.
        app: MONAI Label's app.
        queue: of inference requests.
        warm_up: of the models.
        folder: temporary, ours alone, removed at shutdown.
        training: of models.
        scoring: of studies.
    """

    settings: ServerSettings
    app: AnomaLabelApp
    queue: InferenceQueue
    warm_up: WarmUp
    folder: Path
    training: BackgroundTraining
    scoring: BackgroundScoring

    @property
    def reviews(self) -> ReviewStore:
        """What reviewers decided."""
        return self.app.reviews

    def task(self, name: str) -> DetectionTask:
        """The infer task of a name.

        Raises:
            ModelError: there is none.
        """
        task = self.app.infers.get(name)
        if not isinstance(task, DetectionTask):
            raise ModelError(
                f"There is no task '{shortened(name)}'.", f"Choose one of {', '.join(sorted(self.app.infers))}."
            )
        return task

    def trainer(self, name: str) -> LearningTask:
        """The train task of a name.

        Raises:
            ModelError: there is none.
        """
        task = self.app.trainers.get(name)
        if not isinstance(task, LearningTask):
            raise ModelError(
                f"There is no train task '{shortened(name)}'.", f"Choose one of {', '.join(sorted(self.app.trainers))}."
            )
        return task

    @contextmanager
    def request_folder(self) -> Iterator[Path]:
        """A new empty folder for one request, deleted with all it holds when the block is left."""
        folder = Path(tempfile.mkdtemp(prefix="request-", dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def server_state(request: Request) -> ServerState:
    """Route dependency."""
    state: ServerState = request.app.state.server
    return state


State = Annotated[ServerState, Depends(server_state)]
