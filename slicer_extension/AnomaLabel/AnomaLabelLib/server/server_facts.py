"""What a server says about itself: tasks, configs, image-text models, studies."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ReplyError
from ..translation import _
from .map_kinds import MAP_KINDS

API = 1
"""The interface for reviewing that this extension speaks."""


@dataclass(frozen=True)
class ConfigFacts:
    """One anatomy config of the server with the prompts it starts from, and why its findings may be rejected."""

    name: str
    title: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    rejection_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedFacts:
    """A model that the server trained from healthy images of one config.

    Args:
        task: that uses it; "" for all that learn, where the server is older and has one.
        shots: number of healthy images it learned from, 0 where the server does not say.
        created: date and time as the server writes it, "" where it does not say.
        problem: why it cannot be used, "" where it can.
    """

    name: str
    config: str
    task: str = ""
    shots: int = 0
    created: str = ""
    problem: str = ""


@dataclass(frozen=True)
class TaskFacts:
    """What a task lets a client choose.

    Args:
        learns: whether its models are trained from healthy images; then it takes no words.
        maps: kinds of maps that it can give beside the heatmap.
    """

    learns: bool = False
    maps: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainerFacts:
    """A task that the server can train, and the keys that its request may have."""

    name: str
    config_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerFacts:
    """What can be chosen on a server.

    Args:
        waiting_for: why the model is not warm yet, "" once it is.
        trained: the models that it trained.
        task_facts: of each of `tasks`, in their order; missing ones are plain.
        api: the interface for reviewing that it speaks, None for an older server, which has none.
        login: whether it wants a token.
        reviewer: whose token was sent, "" where it does not know.
        worklist_orders: that it can sort its cases by.
        trainers: what it can train.
    """

    version: str
    tasks: tuple[str, ...]
    configs: tuple[ConfigFacts, ...]
    backbones: tuple[str, ...]
    studies: tuple[str, ...] = ()
    waiting_for: str = ""
    trained: tuple[TrainedFacts, ...] = ()
    task_facts: tuple[TaskFacts, ...] = ()
    api: int | None = None
    login: bool = False
    reviewer: str = ""
    worklist_orders: tuple[str, ...] = ()
    trainers: tuple[TrainerFacts, ...] = ()

    @property
    def reviewing(self) -> bool:
        """Whether this extension can review with the server."""
        return self.api == API

    def config(self, name: str) -> ConfigFacts | None:
        """One of the configs, None where the server has none of that name."""
        return next((config for config in self.configs if config.name == name), None)

    def task(self, name: str) -> TaskFacts:
        """What is known of a task; a plain one where nothing is."""
        return dict(zip(self.tasks, self.task_facts, strict=False)).get(name, TaskFacts())

    def trained_for(self, task: str, config: str) -> tuple[TrainedFacts, ...]:
        """The trained models of a task for a config."""
        return tuple(model for model in self.trained if model.config == config and model.task in ("", task))


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
        task_facts=tuple(_task(entry) for entry in info["models"].values()),
        trained=tuple(_trained(entry) for entry in _entries(ours.get("trained"))),
        configs=tuple(_config(entry) for entry in configs),
        backbones=_texts(ours.get("backbones")),
        api=_api(ours.get("api")),
        login=ours.get("login") is True,
        reviewer=str(ours.get("reviewer") or ""),
        worklist_orders=_texts(ours.get("worklist_orders", [])),
        trainers=tuple(_trainer(entry) for entry in _entries(ours.get("trainers"))),
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


def _task(entry: object) -> TaskFacts:
    config = entry.get("config") if isinstance(entry, dict) else None
    keys = config if isinstance(config, dict) else {}
    return TaskFacts(learns="trained" in keys, maps=tuple(kind for kind in MAP_KINDS if kind in keys))


def _trained(entry: object) -> TrainedFacts:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _foreign(_("One of its trained models has no name."))
    shots = entry.get("shots")
    return TrainedFacts(
        name=entry["name"],
        config=str(entry.get("config") or entry["name"]),
        task=str(entry.get("task") or ""),
        shots=shots if type(shots) is int else 0,
        created=str(entry.get("created") or ""),
        problem=str(entry.get("problem") or ""),
    )


def _api(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise _foreign(_("The number of its interface is malformed."))
    return value


def _trainer(entry: object) -> TrainerFacts:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _foreign(_("One of its train tasks has no name."))
    return TrainerFacts(entry["name"], _texts(entry.get("config_keys", [])))


def _entries(values: object) -> list[object]:
    """A list that older servers leave out."""
    if values is None:
        return []
    if not isinstance(values, list):
        raise _foreign(_("One of its lists is malformed."))
    return values


def _config(entry: object) -> ConfigFacts:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise _foreign(_("One of its configs has no name."))
    return ConfigFacts(
        name=entry["name"],
        title=str(entry.get("title") or entry["name"]),
        positive=_texts(entry.get("positive")),
        negative=_texts(entry.get("negative")),
        rejection_reasons=_texts(entry.get("rejection_reasons", [])),
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
