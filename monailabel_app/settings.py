"""What an operator sets when starting the server, and how MONAI Label is made to agree with it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from anomalabel.config import EMBEDDED
from anomalabel.errors import ConfigError
from monailabel_app.safety.tokens import load_tokens

APP_DIRECTORY = Path(__file__).resolve().parent
GIBIBYTE = 1024**3


@dataclass(frozen=True)
class ServerSettings:
    """How one server runs; valid once constructed.

    Args:
        studies: existing folder with the images to annotate.
        host: address to listen on; anything but loopback is the operator's explicit choice, since it is plain HTTP.
        port: TCP port, 0 to 65535; 0 lets the system choose one.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        backbones: the only image-text models that a client may name; loaded at start.
        cors_origins: web origins that may read replies, e.g. "https://viewer.example"; never with credentials.
        allowed_hosts: accepted Host headers; empty means loopback names on a loopback address and any elsewhere.
        maximum_upload_bytes: larger request bodies are answered 413.
        maximum_waiting: inference requests that may queue behind the running one; more are answered 503.
        tokens: file of login tokens, see `safety.tokens`; None: there is no login.

    Raises:
        ConfigError: the studies folder does not exist, no backbone, a port or a limit out of range, or a token file
            that cannot be used.
    """

    studies: Path
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "auto"
    backbones: tuple[str, ...] = (EMBEDDED,)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    maximum_upload_bytes: int = 2 * GIBIBYTE
    maximum_waiting: int = 16
    tokens: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "studies", Path(self.studies).expanduser().resolve())
        if not self.studies.is_dir():
            raise ConfigError(f"The studies folder {self.studies} does not exist.", "Create it or name another one.")
        if not self.backbones:
            raise ConfigError("The server was given no backbone.", f"Name at least one, for example {EMBEDDED}.")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"Port {self.port} does not exist.", "Choose one from 1024 to 65535.")
        if self.maximum_upload_bytes < 1 or self.maximum_waiting < 0:
            raise ConfigError("A limit of the server is negative or zero.", "Give a positive number.")
        if "*" in self.cors_origins:
            raise ConfigError("Any web page could read patient data with the origin '*'.", "Name the origins.")
        if self.tokens is not None:
            object.__setattr__(self, "tokens", Path(self.tokens).expanduser().resolve())
            load_tokens(self.tokens)

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """Host headers that are answered; on loopback this keeps web pages out that rebind their name to it."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return ("127.0.0.1", "localhost") if is_loopback(self.host) else ("*",)


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def apply_to_monailabel(settings: ServerSettings, session_folder: Path) -> None:
    """Set MONAI Label's global settings.

    Its endpoint modules read some of them while they are imported, so this runs before `monailabel.endpoints` is.

    Args:
        settings: our own.
        session_folder: where MONAI Label keeps uploaded session images.
    """
    from monailabel.config import settings as monai

    monai.MONAI_LABEL_PROJECT_NAME = "AnomaLabel"
    monai.MONAI_LABEL_APP_DIR = str(APP_DIRECTORY)
    monai.MONAI_LABEL_STUDIES = str(settings.studies)
    monai.MONAI_LABEL_APP_CONF = app_configuration(settings)
    monai.MONAI_LABEL_SERVER_PORT = settings.port
    monai.MONAI_LABEL_API_STR = ""
    monai.MONAI_LABEL_AUTH_ENABLE = False
    monai.MONAI_LABEL_AUTO_UPDATE_SCORING = False
    monai.MONAI_LABEL_TRACKING_ENABLED = False
    monai.MONAI_LABEL_TASKS_BATCH_INFER = False
    monai.MONAI_LABEL_INFER_CONCURRENCY = -1
    monai.MONAI_LABEL_SESSIONS = True
    monai.MONAI_LABEL_SESSION_PATH = str(session_folder)
    monai.MONAI_LABEL_CORS_ORIGINS = []


def app_configuration(settings: ServerSettings) -> dict[str, str]:
    """The `--conf` values that `monailabel start_server` would hand to our app."""
    return {"device": settings.device, "backbones": ",".join(settings.backbones)}
