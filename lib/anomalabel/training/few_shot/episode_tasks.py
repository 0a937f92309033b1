"""Tasks for episodes (eq. 11): some shots of one anatomy, with one or two kinds of planted anomalies.

Support and query show different shots, so that a start is judged on images that it did not adapt to. Each task measures
the scale of its features on its own support, as a training with few shots does. It shows few views of each shot: what
MAML costs grows with them, and the next task shows others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig, FewShotSettings, TaskShares
from anomalabel.errors import ConfigError
from anomalabel.localization.few_shot.grid import grid_features
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.patch_features import PatchStore
from anomalabel.training.episodes import Episode
from anomalabel.training.few_shot.episode_loss import EpisodeBatch
from anomalabel.training.few_shot.objective import Batch
from anomalabel.training.few_shot.shots import Shot, Views, make_views
from anomalabel.training.tasks.draw import IDENTITY, TASKS

MOST_KINDS = 2
"""Kinds of anomalies in one task: a task of all of them would leave nothing to adapt to."""


@dataclass(frozen=True)
class ShotByKind:
    """A shot and its views, those with each kind of planted anomaly apart.

    Args:
        planted: by the names of `TASKS`, at least one.
        healthy: augmented, nothing else; None where the settings make none.
    """

    shot: Shot
    planted: Mapping[str, Views]
    healthy: Views | None


@dataclass(frozen=True)
class TaskSet:
    """Shots of one anatomy, of which tasks are made.

    Args:
        shots: at least two.
        texts: for health and disease of this anatomy.
        settings: its temperature is the loss's.
    """

    shots: tuple[ShotByKind, ...]
    texts: ClassTexts
    settings: FewShotSettings

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of anomalies that its shots have."""
        return tuple(self.shots[0].planted)


def planted_by_kind(
    shot: Shot, encoder: PatchEncoder, config: AnatomyConfig, seed: int, store: PatchStore | None = None
) -> ShotByKind:
    """Make and encode the views of a shot, each kind of task whose share is above 0 with as many as the others.

    Args:
        seed: of everything random.
        store: keeps features, None for none.

    Raises:
        ConfigError: the config plants no anomalies.
        ModelError: the encoder answers with NaN or infinity.
    """
    settings = config.few_shot
    drawn = [name for name in TASKS if getattr(settings.tasks, name) > 0]
    if not set(drawn) - {IDENTITY}:
        raise ConfigError(
            f"The config {config.name} plants no anomalies, so there is nothing to learn tasks from.",
            "Raise a share of few_shot.tasks other than identity.",
        )
    count = max(settings.training.views // len(drawn), 1)
    views = {}
    for kind in drawn:
        only = TaskShares(**{name: float(name == kind) for name in TASKS})
        training = settings.training.model_copy(update={"views": count})
        own = settings.model_copy(update={"tasks": only, "training": training})
        views[kind] = make_views(shot, encoder, own, config.augmentation, seed, store)
    healthy = views.pop(IDENTITY, None)
    return ShotByKind(shot, views, healthy)


def draw_episode(sets: Sequence[TaskSet], shape: HeadShape, generator: np.random.Generator) -> Episode[EpisodeBatch]:
    """One task: a set, one or two kinds of anomalies, half of the shots to adapt to and the others to be judged on.

    Args:
        sets: at least one, each as likely as the others.
        shape: of the head.
        generator: the only source of randomness.
    """
    chosen = sets[int(generator.integers(len(sets)))]
    count = min(int(generator.integers(1, MOST_KINDS + 1)), len(chosen.kinds))
    kinds = [str(kind) for kind in generator.choice(chosen.kinds, count, replace=False)]
    order = generator.permutation(len(chosen.shots))
    support, query = (
        [chosen.shots[int(number)] for number in part] for part in (order[: len(order) // 2], order[len(order) // 2 :])
    )
    scale = FewShotHead(shape)
    healthy = grid_features([one for each in support for one in each.shot.patches])
    scale.to(healthy.seen.device).measure(healthy)
    batches = (_batch(part, kinds, generator) for part in (support, query))
    return Episode(*(EpisodeBatch.of(scale, batch, chosen.texts, chosen.settings) for batch in batches))


def _batch(shots: Sequence[ShotByKind], kinds: Sequence[str], generator: np.random.Generator) -> Batch:
    """Of each shot one view with each of these kinds of anomalies, and one without: augmented, or as it is."""
    patches, places = [], []
    for one in shots:
        plain = Views(one.shot.patches, torch.zeros(len(one.shot.patches), one.planted[kinds[0]].place.shape[1]))
        healthy = plain if one.healthy is None or generator.random() < 0.5 else one.healthy
        for views in (*(one.planted[kind] for kind in kinds), healthy):
            number = int(generator.integers(len(views.patches)))
            patches.append(views.patches[number])
            places.append(views.place[number].to(patches[-1].levels[0].device))
    return Batch(grid_features(patches), torch.stack(places))
