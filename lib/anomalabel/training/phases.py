"""The three phases of training the embedded model: what learns in each, from which pictures, by which losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from anomalabel.backbones.embedded_model import EmbeddedModel, EmbeddedSettings
from anomalabel.backbones.loading import MERGES_FILE
from anomalabel.errors import ConfigError
from anomalabel.training.alignment import AlignmentStep, text_loss
from anomalabel.training.checkpoint import Checkpoint
from anomalabel.training.distillation import (
    FeatureStatistics,
    PictureSource,
    Teacher,
    channels_of,
    distillation_step,
    measure_statistics,
)
from anomalabel.training.images import BatchMaker, BatchPlan, TrainingImages
from anomalabel.training.settings import EmbeddedTraining
from anomalabel.training.textures import draw_texture_picture

PHASES = ("distil", "text", "align")
STATISTICS_BATCHES = 8


@dataclass(frozen=True)
class Phase:
    """A stretch of steps with losses and parameters of its own."""

    name: str
    steps: int
    losses: Callable[[], dict[str, Tensor]]
    groups: list[dict[str, Any]]
    learning: nn.Module


class TrainingRun:
    """What all phases share: the model, the teacher with its statistics, and where pictures come from."""

    def __init__(
        self,
        images: TrainingImages,
        folder: Path,
        settings: EmbeddedTraining,
        teacher: Teacher | None,
        plan: BatchPlan,
        vocabulary: int,
        checkpoint: Checkpoint | None,
        device: torch.device,
    ) -> None:
        image = settings.image
        if teacher is not None:
            image = replace(image, feature_channels=channels_of(teacher, image.image_size, device))
        shape = EmbeddedSettings(
            image=image,
            vocabulary=vocabulary,
            text_width=settings.text_width,
            text_heads=max(settings.text_width // 64, 1),
            text_layers=settings.text_layers,
        )
        self.model = EmbeddedModel(shape).to(device)
        self.model.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self._images, self._settings, self._teacher, self._plan = images, settings, teacher, plan
        self._tokenizer = open_clip.SimpleTokenizer(
            bpe_path=str(folder / MERGES_FILE), context_length=shape.context_length
        )
        # What the last phase lacks is told before hours of the first.
        BatchMaker(images, plan, settings.seed)
        self._statistics: FeatureStatistics | None = None
        self._to_views: dict[str, Tensor] | None = None
        if checkpoint is not None:
            self.model.load_state_dict(checkpoint.modules["model"])
            self._to_views = checkpoint.modules.get("to_views")
            if checkpoint.modules["statistics"] is not None:
                self._statistics = FeatureStatistics(*checkpoint.modules["statistics"]).to(device)

    def state(self, phase: Phase) -> dict[str, object]:
        """For a checkpoint."""
        known = self._statistics
        views = phase.learning.to_views.state_dict() if isinstance(phase.learning, AlignmentStep) else None
        return {
            "model": self.model.state_dict(),
            "statistics": None if known is None else (known.mean, known.std),
            "to_views": views,
        }

    def phase(self, name: str, first: int) -> Phase:
        """A phase by name; pictures are drawn anew from step `first`."""
        seed = self._settings.seed + first
        if name == "distil":
            return self._distil(seed)
        maker = BatchMaker(self._images, self._plan, seed)
        return self._text(maker) if name == "text" else self._align(maker, seed)

    def _distil(self, seed: int) -> Phase:
        settings, tower, teacher = self._settings, self.model.visual, self._teacher
        if teacher is None:
            raise ConfigError("There is no teacher to distil from.", "Name one, or train without that phase.")
        source = PictureSource(_pictures(self._images, settings), seed)

        def draw() -> Tensor:
            return source.draw(settings.batch, settings.distil_side).to(self.device)

        if self._statistics is None:
            drawn = (draw() for _ in range(STATISTICS_BATCHES))
            self._statistics = measure_statistics(teacher, drawn)
        statistics = self._statistics

        def losses() -> dict[str, Tensor]:
            return {"imitation": distillation_step(tower, teacher, statistics, draw())}

        parts = nn.ModuleList([tower.trunk, tower.fine_head, tower.coarse_head])
        return Phase("distil", settings.distil_steps, losses, _groups(parts, settings.distil_rate), parts)

    def _text(self, maker: BatchMaker) -> Phase:
        model, settings = self.model, self._settings
        return Phase(
            "text",
            settings.text_steps,
            lambda: text_loss(model, self._tokenizer, maker.draw_words(settings.text_batch)),
            _groups(model.text, settings.text_rate),
            model.text,
        )

    def _align(self, maker: BatchMaker, seed: int) -> Phase:
        settings, visual = self._settings, self.model.visual
        step = AlignmentStep(self.model, self._tokenizer, self._teacher, self._statistics, settings.weights, seed)
        if self._to_views is not None:
            step.to_views.load_state_dict(self._to_views)
        self.model.text.eval().requires_grad_(False)
        # The statistics of batch normalisation stay those of all pictures; a batch of pairs has its own.
        visual.trunk.eval()
        for part in settings.frozen:
            visual.trunk[part].requires_grad_(False)
        convolutions = nn.ModuleList([visual.trunk, visual.fine_head, visual.coarse_head])
        theirs = {id(parameter) for parameter in convolutions.parameters()}
        groups = _groups(convolutions, settings.align_rate * settings.trunk_rate)
        groups += _groups(step, settings.align_rate, theirs)
        return Phase("align", settings.align_steps, lambda: step.losses(maker.draw()), groups, step)


def _groups(module: nn.Module, rate: float, left_out: set[int] | None = None) -> list[dict[str, Any]]:
    """Parameters that learn; weights decay, biases and norms do not."""
    own = [p for p in module.parameters() if p.requires_grad and id(p) not in (left_out or set())]
    return [
        {"params": [p for p in own if p.ndim >= 2], "lr": rate},
        {"params": [p for p in own if p.ndim < 2], "lr": rate, "weight_decay": 0.0},
    ]


def _pictures(images: TrainingImages, settings: EmbeddedTraining) -> list[tuple[np.ndarray, float]]:
    """Texture pictures and each anatomy's images with their shares; every anatomy counts the same."""
    generator = np.random.default_rng(settings.seed)
    textures = np.stack([draw_texture_picture(generator) for _ in range(settings.textures)])
    anatomies = sorted(set(images.anatomy.tolist()))
    share = (1 - settings.texture_share) / len(anatomies)
    return [(textures, settings.texture_share), *((images.image[images.anatomy == name], share) for name in anatomies)]
