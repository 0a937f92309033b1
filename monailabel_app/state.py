"""What lives as long as the server: app, queue, warm-up and the temporary folder."""

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
from monailabel_app.infers.clap_attention import ClapAttention
from monailabel_app.jobs import InferenceQueue
from monailabel_app.main import AnomaLabelApp
from monailabel_app.readiness import WarmUp
from monailabel_app.safety.names import shortened
from monailabel_app.settings import ServerSettings


@dataclass(frozen=True)
class ServerState:
    """Handed to every route.

    Args:
        settings: of this server.
        app: MONAI Label's app.
        queue: of inference requests.
        warm_up: of the models.
        folder: temporary, ours alone, removed at shutdown.
    """

    settings: ServerSettings
    app: AnomaLabelApp
    queue: InferenceQueue
    warm_up: WarmUp
    folder: Path

    def task(self, name: str) -> ClapAttention:
        """The infer task of a name.

        Raises:
            ModelError: there is none.
        """
        task = self.app.infers.get(name)
        if not isinstance(task, ClapAttention):
            raise ModelError(
                f"There is no task '{shortened(name)}'.", f"Choose one of {', '.join(sorted(self.app.infers))}."
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
