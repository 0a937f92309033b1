"""The parts of few-shot localization as changes of a config: what `few_shot_ablation.py` compares with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anomalabel.config import AnatomyConfig, parse_settings

Changes = Mapping[str, Any]
"""Dotted keys of a config to new values."""

EVERYWHERE: Changes = {"few_shot.uncertainty.passes": 0}
"""Uncertainty changes no map; without it a variant takes less time."""

PLAIN: Changes = {
    **EVERYWHERE,
    "prompts.synonyms": 0,
    "few_shot.bank": True,
    "few_shot.text": False,
    "few_shot.alignment": False,
    "few_shot.augmentation": False,
    "few_shot.prompts.enabled": False,
    "few_shot.language_adapter.path": None,
    "few_shot.refinement.enabled": False,
    "few_shot.scales": [1],
    "few_shot.simclr.enabled": False,
    "few_shot.distillation.enabled": False,
    "few_shot.episodes.path": None,
    "few_shot.suppression.enabled": False,
}
"""The plain bank: nearest healthy patches of the shots as they are, nothing else."""

TEXT: Changes = {"few_shot.text": True, "few_shot.text_score": "max"}
ADAPTERS: Changes = {"few_shot.alignment": True}
TASKS = ("cutpaste", "gaussian_intensity", "source_deformation", "identity")


@dataclass(frozen=True)
class Part:
    """One line of the table.

    Args:
        name: for --only and folders.
        title: what the table says.
        on: what turns the part on.
        off: what takes it from a set that has it; None where it can only be put in another's place.
        needs: what it stands on, added to the plain bank first.
        base: how the table calls the plain bank with `needs`.
        missing: why it cannot be run; "" where it can.
    """

    name: str
    title: str
    on: Changes = field(default_factory=dict)
    off: Changes | None = None
    needs: Changes = field(default_factory=dict)
    base: str = "plain bank"
    missing: str = ""


@dataclass(frozen=True)
class Side:
    """One comparison: a variant and what it differs from by one part.

    Args:
        how: "without", "with" or "instead" of what the base has; for the plain bank the name of the base.
        variant, base: configs.
    """

    how: str
    variant: AnatomyConfig
    base: AnatomyConfig


def parts_of(adapter: str | None, teacher: str | None, start: str | None) -> tuple[Part, ...]:
    """All parts, in the order of the paper.

    Args:
        adapter: file of a trained language adapter. teacher: name of a model. start: file of episodes.
    """
    text = {"needs": TEXT, "base": "bank and text"}
    learning = {"needs": ADAPTERS, "base": "bank and adapters"}
    distillation = {"few_shot.distillation": {"enabled": True, "teacher": teacher}}
    return (
        Part("bank", "bank of normal patches", {"few_shot.bank": True}, {"few_shot.bank": False}),
        _switch("augmentation", "augmentation (views in the bank and the training)", "few_shot.augmentation"),
        Part("text_max", "text, score of eq. 9", TEXT, {"few_shot.text": False}),
        Part("text_softmax", "text, softmax variant", {**TEXT, "few_shot.text_score": "softmax"}),
        Part(
            *("templates", "standard templates"),
            *({"few_shot.standard_templates": True}, {"few_shot.standard_templates": False}),
            *({**TEXT, "few_shot.standard_templates": False}, "bank and text of the config"),
        ),
        Part("synonyms", "synonyms of the ontology (3)", {"prompts.synonyms": 3}, {"prompts.synonyms": 0}, **text),
        Part(
            *("language_adapter", "language adapter"),
            *({"few_shot.language_adapter.path": adapter}, {"few_shot.language_adapter.path": None}),
            missing="" if adapter else "no --reports were given",
            **text,
        ),
        _switch("prompts", "learnable prompts (eq. 4, 5)", "few_shot.prompts.enabled"),
        _switch("alignment", "alignment adapters (eq. 8)", "few_shot.alignment"),
        _switch("refinement", "token refinement (eq. 6)", "few_shot.refinement.enabled"),
        Part("head_weight", "weight 1 of what was learned", {"few_shot.weights.head": 1.0}, **learning),
        *(_task(name, only=True) for name in TASKS[:3]),
        _task("identity", only=False),
        _switch("simclr", "SimCLR (eq. 12)", "few_shot.simclr.enabled", **learning),
        Part(
            *("distillation", "distillation (eq. 13)", distillation, {"few_shot.distillation.enabled": False}),
            missing="" if teacher else "no --teacher was given",
            **learning,
        ),
        Part(
            *("episodes", "start from episodes (eq. 11)"),
            *({"few_shot.episodes.path": start}, {"few_shot.episodes.path": None}),
            missing="" if start else "no --start was given",
            **learning,
        ),
        Part("scales", "multi-scale maps (1 and 3)", {"few_shot.scales": [1, 3]}, {"few_shot.scales": [1]}),
        _switch("suppression", "outlier suppression", "few_shot.suppression.enabled"),
    )


def plain(config: AnatomyConfig) -> AnatomyConfig:
    """The config with the plain bank alone."""
    return changed(config, PLAIN)


def full(config: AnatomyConfig) -> AnatomyConfig:
    """The config as it is, but for `EVERYWHERE`."""
    return changed(config, EVERYWHERE)


def alone(part: Part, config: AnatomyConfig) -> Side | None:
    """The part added to the plain bank with what it needs; None where it is the bank itself."""
    base = changed(plain(config), part.needs)
    variant = changed(base, part.on)
    return None if variant == base else Side(part.base, variant, base)


def taken(part: Part, config: AnatomyConfig) -> Side:
    """The part taken from the full set; where the full set has it not, added to it or put in another's place."""
    base = full(config)
    added = changed(base, part.on)
    if added != base:
        return Side("with" if part.off is not None else "instead", added, base)
    if part.off is None:
        return Side("the same", base, base)
    return Side("without", changed(base, part.off), base)


def changed(config: AnatomyConfig, changes: Changes) -> AnatomyConfig:
    """The config with other values under some keys.

    Raises:
        ConfigError: an unknown key, or values that do not go together.
    """
    values = config.model_dump(mode="json")
    for key, value in changes.items():
        *path, last = key.split(".")
        inner = values
        for step in path:
            inner = inner[step]
        inner[last] = {**inner[last], **value} if isinstance(value, Mapping) else value
    return parse_settings(AnatomyConfig, values, f"{config.name} with {', '.join(changes)}")


def chosen_parts(parts: Sequence[Part], names: Sequence[str]) -> tuple[Part, ...]:
    """The parts of these names, all by default; ValueError for a name that is none."""
    unknown = set(names) - {part.name for part in parts}
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]} is no part; there are {', '.join(part.name for part in parts)}")
    return tuple(part for part in parts if not names or part.name in names)


def _switch(name: str, title: str, key: str, **more: Any) -> Part:
    return Part(name, title, {key: True}, {key: False}, **more)


def _task(name: str, only: bool) -> Part:
    shares = {one: float((one == name) == only) for one in TASKS}
    title = f"task {name} alone" if only else f"no task {name}"
    return Part(f"task_{name}", title, {"few_shot.tasks": shares}, needs=ADAPTERS, base="bank and adapters, all tasks")
