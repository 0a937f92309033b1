"""The ASGI server: MONAI Label's app behind routes that do not block, do not guess and delete nothing of yours.

Which of MONAI Label's routes are kept, and why the others are not, is told in `routes/monai.py`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from anomalabel import __version__
from anomalabel.errors import ConfigError
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.jobs import InferenceQueue
from monailabel_app.main import AnomaLabelApp
from monailabel_app.places import scoring_status_file, training_status_file
from monailabel_app.readiness import WarmUp
from monailabel_app.routes import images, infer, monai, reviews, scoring, sessions, status, train, worklist
from monailabel_app.routes.errors import install_error_handlers
from monailabel_app.safety.body_limit import BodyLimit
from monailabel_app.safety.login import Login
from monailabel_app.safety.tokens import TokenFile
from monailabel_app.scoring.background import BackgroundScoring
from monailabel_app.settings import (
    APP_DIRECTORY,
    ServerSettings,
    app_configuration,
    apply_to_monailabel,
    is_loopback,
)
from monailabel_app.state import ServerState
from monailabel_app.trainers.background import BackgroundTraining
from monailabel_app.trainers.local_training import Training

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 5
SERVER_LOCK = ".anomalabel-server.lock"


def create_app(
    settings: ServerSettings, pipeline: Detecting | None = None, trainings: Mapping[str, Training] | None = None
) -> FastAPI:
    """The ASGI app; models are loaded when it starts, in the background.

    MONAI Label keeps its settings and its app in globals, so one process serves one studies folder at a time.

    Args:
        settings: of this server.
        pipeline: what detects; the real one where it is not given.
        trainings: what makes models, by train task; the real one where none is given.
    """
    apply_to_monailabel(settings, session_folder=Path(tempfile.gettempdir()))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="anomalabel-server-") as temporary:
            state = build_state(settings, Path(temporary), pipeline, trainings or {})
            app.state.server = state
            try:
                yield
            finally:
                state.queue.cancel_all()
                state.training.close()
                state.scoring.close()
                state.warm_up.close()
                if state.app.label_copies is not None:
                    state.app.label_copies.close()

    app = FastAPI(title="AnomaLabel", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    for router in (
        status.router,
        infer.router,
        train.router,
        scoring.router,
        reviews.router,
        worklist.router,
        images.router,
        sessions.router,
        monai.kept_routes(),
    ):
        app.include_router(router)
    install_error_handlers(app)
    app.add_middleware(BodyLimit, maximum_bytes=settings.maximum_upload_bytes)
    if settings.tokens is not None:
        app.add_middleware(Login, tokens=TokenFile(settings.tokens))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.trusted_hosts))
    return app


def build_state(
    settings: ServerSettings, folder: Path, pipeline: Detecting | None, trainings: Mapping[str, Training]
) -> ServerState:
    """Make MONAI Label's app, register it where MONAI Label's routes look for it, and start loading models."""
    from monailabel.interfaces.utils import app as registry

    apply_to_monailabel(settings, folder / "sessions")
    studies = str(settings.studies)
    app = AnomaLabelApp(str(APP_DIRECTORY), studies, app_configuration(settings), pipeline, trainings)
    app.server_mode(True)
    if app.label_copies is not None:
        app.label_copies.repair()
    registry.apps[f"{APP_DIRECTORY}{settings.studies}"] = app
    queue = InferenceQueue(settings.maximum_waiting, asyncio.get_running_loop())
    training = BackgroundTraining(training_status_file(studies))
    scoring = BackgroundScoring(scoring_status_file(studies))
    return ServerState(settings, app, queue, WarmUp(app.pipeline, app.backbones), folder, training, scoring)


def serve(settings: ServerSettings) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: the port is taken, or another server serves the same studies folder.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with _exclusive(settings.studies), _listening(settings) as listener:
        host, port = listener.getsockname()[:2]
        for warning in access_warnings(settings):
            logger.warning(warning)
        logger.info("AnomaLabel serves %s on http://%s:%s; not for clinical use", settings.studies, host, port)
        config = uvicorn.Config(
            create_app(settings), log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS
        )
        uvicorn.Server(config).run(sockets=[listener])


def access_warnings(settings: ServerSettings) -> tuple[str, ...]:
    """What an operator should know of who can read the studies, none on loopback."""
    if is_loopback(settings.host):
        return ()
    if settings.tokens is None:
        return (
            f"Everybody who reaches {settings.host} can read the studies: there is no login. "
            "Make tokens with `anomalabel token` and start with --tokens FILE.",
        )
    return (
        f"Login tokens and studies cross the network to {settings.host} in plain HTTP, where others can read them. "
        "Listen on 127.0.0.1 behind a proxy with TLS (README, 'Login and TLS').",
    )


def _listening(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"The server cannot listen on {settings.host}:{settings.port}: {error.strerror}.",
            "Stop what uses it, or choose another port.",
        ) from error
    return listener


@contextmanager
def _exclusive(studies: Path) -> Iterator[None]:
    """Two servers on one folder would overwrite each other's index."""
    lock = FileLock(studies / SERVER_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"Another server serves {studies} already.", "Stop it, or use its address.") from error
    except OSError as error:
        raise ConfigError(
            f"The studies folder {studies} cannot be written: {error.strerror}.", "Give the server's user write access."
        ) from error
    try:
        yield
    finally:
        lock.release()
