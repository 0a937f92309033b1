"""The switches of reconstruction as changes of a config: what `reconstruction_ablation.py` trains and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from few_shot_parts import Changes, changed

from anomalabel.config import AnatomyConfig, ErrorKinds, ReconstructionSettings, Saliency

METHOD = "reconstruction"
CELLS = (1, 4, 8)
SHARES = (0.001, 0.01, 0.05)
MSGMS: Changes = {"errors": {"msgms": 1.0, "features": 0.0}}
FEATURES: Changes = {"errors": {"msgms": 0.0, "features": 1.0}}
BOTH: Changes = {"errors": {"msgms": 1.0, "features": 1.0}, "healthy_level": True}

PUBLISHED: Changes = {
    "errors": {"msgms": 1.0, "features": 0.0, "cell": 1},
    "healthy_level": False,
    "score": "max",
}
"""Of a trained network: MSGMS pixel by pixel in its own unit, and its maximum."""


@dataclass(frozen=True)
class Training:
    """One way to train.

    Args:
        name: for --trainings and folders.
        title: what the table says.
        changes: of the config's reconstruction settings.
        whole: whether all switches are tried on it, or the published and the config's own set alone.
    """

    name: str
    title: str
    changes: Changes = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table: a way to use a trained network.

    Args:
        base: title of the row that it differs from by one switch; its own title for a row that stands by itself.
        title: what the table says.
        settings: of the method.
    """

    base: str
    title: str
    settings: ReconstructionSettings

    @property
    def differs(self) -> bool:
        """Whether there is another row to compare it with."""
        return self.base != self.title


def trainings(blocks: Sequence[int]) -> tuple[Training, ...]:
    """All of them; `blocks` are the mosaics of the training that draws among several."""
    drawn = ", ".join(map(str, blocks))
    return (
        Training("config", "trained as the config says", whole=True),
        Training("mosaics", f"trained with blocks of {drawn}", {"mosaic": {"blocks": list(blocks)}}),
        Training("l2", "trained with L2 alone", _losses(l2=10.0)),
        Training("l2_ssim", "trained with L2 and SSIM", _losses(l2=10.0, ssim=1.0)),
        Training("all_losses", "trained with L2, SSIM and MSGMS", _losses(l2=10.0, ssim=1.0, msgms=1.0)),
    )


def trained(config: AnatomyConfig, training: Training, saliency: Saliency, epochs: int, samples: int) -> AnatomyConfig:
    """The config that a training learns with."""
    lengths = {"epochs": epochs, "samples": samples}
    return with_changes(config, {**training.changes, "saliency": saliency, "training": lengths})


def rows(config: AnatomyConfig, training: Training) -> tuple[Row, ...]:
    """What is scored of a training, each set of settings once.

    Args:
        config: as `trained` gives it.
    """
    published, default = with_changes(config, PUBLISHED), config
    found = _sets(published, "published") + _sets(default, "default")
    if training.whole:
        found += [_row("published", title, published, changes) for title, changes in _switches(published)]
        found += [_row("default", title, default, changes) for title, changes in _switches(default)]
    # The first of equals stays: a switch that a set has already is no row of its own.
    distinct: dict[str, Row] = {}
    for row in found:
        distinct.setdefault(row.settings.model_dump_json(), row)
    return tuple(sorted(distinct.values(), key=lambda row: row.base != "published"))


def with_changes(config: AnatomyConfig, changes: Changes) -> AnatomyConfig:
    """The config with other reconstruction settings.

    Raises:
        ConfigError: values that do not go together.
    """
    return changed(config, {f"{METHOD}.{key}": value for key, value in changes.items()})


def _sets(config: AnatomyConfig, title: str) -> list[Row]:
    """A set of switches; of several mosaics all together, then each alone."""
    blocks = config.reconstruction.mosaic.blocks
    found = [Row(title, title, config.reconstruction)]
    if len(blocks) > 1 and config.reconstruction.saliency != "none":
        found += [_row(title, f"hidden by blocks of {one}", config, {"mosaic": {"blocks": [one]}}) for one in blocks]
    return found


def _switches(config: AnatomyConfig) -> list[tuple[str, Changes]]:
    """Each switch in each of its positions; some of them are what the config has."""
    off: Changes = {"healthy_level": False}
    both = _has_both(config.reconstruction.errors)
    level: list[tuple[str, Changes]] = [("healthy level", {"healthy_level": True})]
    if both:
        level += [("no healthy level, MSGMS alone", {**MSGMS, **off})]
        level += [("no healthy level, features alone", {**FEATURES, **off})]
    else:
        level += [("no healthy level", off)]
    return [
        ("MSGMS alone", MSGMS),
        ("features alone", FEATURES),
        ("MSGMS and features, with healthy level", BOTH),
        *((f"cells of {cell}", {"errors": {"cell": cell}}) for cell in CELLS),
        *level,
        ("score: maximum", {"score": "max"}),
        *((f"score: mean of the top {share:.1%}", {"score": "top", "score_share": share}) for share in SHARES),
    ]


def _has_both(errors: ErrorKinds) -> bool:
    return errors.msgms > 0 and errors.features > 0


def _row(base: str, title: str, config: AnatomyConfig, changes: Changes) -> Row:
    return Row(base, title, with_changes(config, changes).reconstruction)


def _losses(**weights: float) -> Mapping[str, Mapping[str, float]]:
    return {"losses": {"l2": 0.0, "ssim": 0.0, "msgms": 0.0, **weights}}
