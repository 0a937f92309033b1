"""What a server says about itself: tasks, configs, image-text models, studies."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ReplyError
from .translation import _


@dataclass(frozen=True)
class ConfigFacts:
    """One anatomy config of the server with the prompts it starts from."""

    name: str
    title: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True)
class ServerFacts:
    """What can be chosen on a server.

    Args:
        waiting_for: why the model is not warm yet, "" once it is.
    """

    version: str
    tasks: tuple[str, ...]
    configs: tuple[ConfigFacts, ...]
    backbones: tuple[str, ...]
    studies: tuple[str, ...] = ()
    waiting_for: str = ""


def parse_info(info: object) -> ServerFacts:
    """Read the answer to `/info/`.

    Raises:
        ReplyError: another program answered, or a MONAI Label server without AnomaLabel.
    """
    if not isinstance(info, dict) or not isinstance(info.get("models"), dict):
        raise _foreign(_("It does not name any models."))
    ours = info.get("anomalabel")
    if not isinstance(ours, dict):
        raise _foreign(_("It is a MONAI Label server with another app."))
    configs = ours.get("configs")
    if not isinstance(configs, list) or not configs:
        raise _foreign(_("It offers no configs."))
    return ServerFacts(
        version=str(ours.get("version", "")),
        tasks=tuple(str(name) for name in info["models"]),
        configs=tuple(_config(entry) for entry in configs),
        backbones=_texts(ours.get("backbones")),
    )


def parse_studies(datastore: object) -> tuple[str, ...]:
    """Read the answer to `/datastore/?output=all`: the ids of its images, sorted.

    Raises:
        ReplyError: it holds no list of images.
    """
    objects = datastore.get("objects") if isinstance(datastore, dict) else None
    if not isinstance(objects, dict):
        raise _foreign(_("Its list of studies cannot be read."))
    return tuple(sorted(str(name) for name in objects))


def _config(entry: object) -> ConfigFacts:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _foreign(_("One of its configs has no name."))
    return ConfigFacts(
        name=entry["name"],
        title=str(entry.get("title") or entry["name"]),
        positive=_texts(entry.get("positive")),
        negative=_texts(entry.get("negative")),
    )


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _foreign(_("A list of texts is malformed."))
    return tuple(values)


def _foreign(detail: str) -> ReplyError:
    return ReplyError(
        _("What answers there is not an AnomaLabel server of this version. {detail}").format(detail=detail),
        _("Check address and port; start the server with: anomalabel serve --studies FOLDER"),
    )
