"""Episodic learning as a training: from healthy sets of several anatomies to a file with a start (section 4.6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from anomalabel.config import EMBEDDED, AnatomyConfig, DetectionRequest, Settings, load_config
from anomalabel.detectors.learn_few_shot import adapted_model
from anomalabel.detectors.registry import texts_of
from anomalabel.errors import ConfigError
from anomalabel.learning.encoded_images import EncodedImages, TrainableEncoders
from anomalabel.learning.healthy_set import HealthyFile, choose_healthy, without_odd_ones
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.patch_features import PatchStore
from anomalabel.localization.stored_features import stored_features
from anomalabel.model_folder import HealthyImage
from anomalabel.training.episodes import EpisodicTraining, meta_train
from anomalabel.training.few_shot.episode_loss import episode_loss
from anomalabel.training.few_shot.episode_tasks import TaskSet, draw_episode, planted_by_kind
from anomalabel.training.few_shot.fit import Watch
from anomalabel.training.few_shot.fit_head import TextSource
from anomalabel.training.few_shot.start_worth import worth_of_start
from anomalabel.training.learned_start import LearnedStart, StartOrigin

FEWEST_JUDGED = 2
"""Images of a set that are kept to judge the start on: one to adapt to and one to be judged on."""

JUDGED_TASKS = 24


class EpisodesTraining(Settings):
    """What one training asks for."""

    backbone: str = EMBEDDED
    shots: int = Field(default=8, ge=2, le=1024, description="healthy images of each set to learn from")
    seed: int = Field(default=0, ge=0, lt=2**32)
    training: EpisodicTraining = Field(default_factory=EpisodicTraining)

    @property
    def judged(self) -> int:
        """Healthy images of each set that it is judged on, half as many as it learns from."""
        return max(self.shots // 2, FEWEST_JUDGED)


@dataclass(frozen=True)
class EpisodesResult:
    """What came of a training.

    Args:
        start: to be saved.
        left_out: healthy images that were not taken, each with its set and why.
        warnings: what a reader of results should know.
    """

    start: LearnedStart
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _AnatomySet:
    """A healthy set, ready for tasks: of what is learned from, and of what is kept to judge on."""

    config: AnatomyConfig
    shape: HeadShape
    learned: TaskSet
    judged: TaskSet
    files: tuple[HealthyFile, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def train_episodes(
    request: EpisodesTraining,
    sets: Sequence[tuple[str, Sequence[Path]]],
    encoders: TrainableEncoders,
    watch: Watch,
    store: PatchStore | None = None,
) -> EpisodesResult:
    """Learn a start from tasks of all sets, and judge it on tasks of images kept aside.

    Args:
        request: what is asked for.
        sets: config and healthy images of each anatomy. The first one's `few_shot` decides the head.
        encoders: of the request's backbone.
        watch: told what is done; raising Cancelled in it ends the work.
        store: of features; None is the user's cache on disk, with memory before it.

    Raises:
        AnomaLabelError: too few usable images, a set or an image twice, heads that differ from set to set, a bad config
            or model, or learning that diverges.
    """
    configs = _configs([name for name, _ in sets])
    kept = store or stored_features(encoders)
    prepared = [
        _anatomy_set(request, config, images, encoders, watch, kept)
        for config, (_, images) in zip(configs, sets, strict=True)
    ]
    _check_together(prepared)
    first = prepared[0]
    head = FewShotHead(first.shape, torch.Generator().manual_seed(request.seed))
    head.to(first.learned.texts.healthy.device)
    generator = np.random.default_rng(request.seed)
    learned_from = [one.learned for one in prepared]
    start = meta_train(
        head,
        lambda draws: draw_episode(learned_from, first.shape, draws),
        episode_loss(head),
        request.training,
        generator,
        partial(watch, "learning the start"),
    )
    judged_on = [one.judged for one in prepared]
    tasks = [draw_episode(judged_on, first.shape, generator) for _ in range(JUDGED_TASKS)]
    steps = first.config.few_shot.episodes.steps
    metrics = worth_of_start(head, start, tasks, request.training, steps, partial(watch, "judging the start"))
    identity = encoders.patch_encoder().identity
    origin = StartOrigin(
        encoder=encoders.name,
        sets={
            one.config.name: tuple(HealthyImage(name=file.path.name, sha256=file.sha256) for file in one.files)
            for one in prepared
        },
        seed=request.seed,
        metrics=metrics,
    )
    return EpisodesResult(
        LearnedStart(start, identity.weights_sha256, repr(first.shape), request.training, origin),
        left_out=tuple(line for one in prepared for line in one.left_out),
        warnings=tuple(line for one in prepared for line in one.warnings),
    )


def _configs(names: Sequence[str]) -> list[AnatomyConfig]:
    """The sets' configs, each once, and all with a head to learn."""
    if not names:
        raise ConfigError("No healthy set was given.", "Give at least one config with its healthy images.")
    configs = [load_config(name) for name in names]
    for number, config in enumerate(configs):
        if config.name in {other.name for other in configs[:number]}:
            raise ConfigError(f"The config {config.name} was given twice.", "Give each anatomy one folder.")
        if not (config.few_shot.alignment or config.few_shot.refinement.enabled):
            raise ConfigError(
                f"The head of the config {config.name} has nothing to learn.",
                "Turn on few_shot.alignment or few_shot.refinement.",
            )
    return configs


def _anatomy_set(
    request: EpisodesTraining,
    config: AnatomyConfig,
    paths: Sequence[Path],
    encoders: TrainableEncoders,
    watch: Watch,
    store: PatchStore,
) -> _AnatomySet:
    encoder = encoders.patch_encoder()
    source = TextSource(
        adapted_model(encoders.image_text_model(), config.few_shot),
        texts_of("few_shot", config, DetectionRequest(config=config.name)),
    )
    texts = source.plain()
    images = EncodedImages(config, encoder, store, watch)
    wanted = request.shots + request.judged
    try:
        reading = partial(watch, f"reading {config.name}")
        healthy = choose_healthy(paths, wanted, request.seed, read=images.prepared, progress=reading)
        healthy, odd = without_odd_ones(healthy, images.look, images.prepared)
    except ConfigError as error:
        raise ConfigError(
            f"{config.name}: {error.cause}",
            f"Give {wanted} healthy images of one kind, {request.shots} to learn from and {request.judged} to judge "
            "on, or ask for fewer shots.",
        ) from error
    shots = []
    for number, path in enumerate(healthy.chosen):
        watch(f"encoding views of {config.name}", number, wanted)
        shots.append(planted_by_kind(images.shot(path), encoder, config, request.seed, store))
    watch(f"encoding views of {config.name}", wanted, wanted)
    channels = tuple(level.shape[0] for level in shots[0].shot.patches[0].levels)
    shape = HeadShape.of(channels, encoder.text_level, texts.healthy.shape[1], config.few_shot)
    unknown = source.model.unknown_words((*source.prompts.positive, *source.prompts.negative))
    warnings = [odd.untold] if odd.untold else []
    if unknown:
        warnings.append(f"The model {source.model.identity.name} never saw the words {', '.join(unknown)}.")
    return _AnatomySet(
        config,
        shape,
        TaskSet(tuple(shots[: request.shots]), texts, config.few_shot),
        TaskSet(tuple(shots[request.shots :]), texts, config.few_shot),
        healthy.images[: request.shots],
        tuple(f"{config.name}: {one}" for one in healthy.left_out),
        tuple(f"{config.name}: {warning}" for warning in warnings),
    )


def _check_together(sets: Sequence[_AnatomySet]) -> None:
    """Raise ConfigError where heads differ, or where an image is in two sets."""
    first = sets[0]
    owners: Mapping[str, str] = {}
    for one in sets:
        differing = [
            f"{field.name} {getattr(first.shape, field.name)} and {getattr(one.shape, field.name)}"
            for field in fields(HeadShape)
            if getattr(first.shape, field.name) != getattr(one.shape, field.name)
        ]
        if differing:
            raise ConfigError(
                f"The heads of {first.config.name} and {one.config.name} differ: {'; '.join(differing)}.",
                "Set few_shot.alignment and few_shot.refinement alike in both configs.",
            )
        for file in one.files:
            if file.sha256 in owners:
                raise ConfigError(
                    f"{file.path.name} is among the images of {owners[file.sha256]} and of {one.config.name}.",
                    "Give each anatomy its own images.",
                )
        owners = {**owners, **{file.sha256: one.config.name for file in one.files}}
