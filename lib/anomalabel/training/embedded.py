"""Trains the small image-text model that ships with the package: teacher's features, then texts, then both together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from anomalabel.backbones.device import choose_device
from anomalabel.backbones.embedded_model import EmbeddedModel, EmbeddedSettings, save_embedded
from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.backbones.loading import MERGES_FILE, VOCABULARY_FILE
from anomalabel.errors import ConfigError
from anomalabel.training.alignment import AlignmentStep, LossWeights, text_loss
from anomalabel.training.captions import every_wording
from anomalabel.training.checkpoint import (
    Checkpoint,
    HistoryEntry,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from anomalabel.training.curves import draw_curves
from anomalabel.training.distillation import (
    FeatureStatistics,
    PictureSource,
    Teacher,
    channels_of,
    distillation_step,
    measure_statistics,
)
from anomalabel.training.images import BatchMaker, BatchPlan, TrainingImages
from anomalabel.training.plan import PLAN
from anomalabel.training.textures import draw_texture_picture
from anomalabel.training.tokenizer import known_words, learn_merges, vocabulary_size, write_merges

Report = Callable[[str, float, dict[str, float]], None]
"""Called after each step with the phase's name, the part of all steps that is done (0 to 1) and the losses."""

PHASES = ("distil", "text", "align")
CHECKPOINT_EVERY = 200
STATISTICS_BATCHES = 8
WARMUP_STEPS = 100
LOWEST_RATE = 0.01
"""Of the peak learning rate, at the end of each phase."""


@dataclass(frozen=True)
class EmbeddedTraining:
    """How the embedded model is trained.

    Args:
        distil_steps: of `batch` images; none are taken without a teacher.
        distil_side: pixels along the pictures of that phase; convolutions learned on small ones serve large ones.
        text_steps: in which the text tower alone learns which wordings mean the same, so that images meet a space that
            already has a shape.
        align_steps: of images and texts together.
        texture_share: share of pictures made of chance, not of patients, in the first phase.
        frozen: parts of the trunk that stay as distilled in the last phase; they see every pixel and cost the most.
        trunk_rate: learning rate of the rest of the trunk in the last phase, relative to the others'.
    """

    distil_steps: int = 5200
    text_steps: int = 400
    align_steps: int = 1500
    batch: int = 32
    text_batch: int = 128
    distil_side: int = 160
    textures: int = 1500
    texture_share: float = 0.4
    distil_rate: float = 2e-3
    text_rate: float = 1e-3
    align_rate: float = 6e-4
    trunk_rate: float = 0.2
    frozen: tuple[str, ...] = ("conv1", "bn1", "layer1")
    weight_decay: float = 0.03
    merges: int = 1500
    seed: int = 0
    image: HybridSettings = field(default_factory=HybridSettings)
    text_width: int = 192
    text_layers: int = 3
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True)
class _Phase:
    """A stretch of steps with losses and parameters of its own."""

    name: str
    steps: int
    losses: Callable[[], dict[str, Tensor]]
    groups: list[dict[str, Any]]
    learning: nn.Module


def train_embedded(
    images: TrainingImages,
    folder: Path,
    settings: EmbeddedTraining,
    report: Report,
    teacher: Teacher | None = None,
    plan: BatchPlan = PLAN,
    device: str = "auto",
) -> None:
    """Train and write the model's settings, weights (float16), tokenizer merges, vocabulary and curves into `folder`.

    Goes on from the folder's checkpoint if an earlier call with the same settings was interrupted.

    Args:
        teacher: whose feature maps are distilled, and give the patch features their number of channels; None leaves
            that phase out.
        plan: what a batch of the last phase holds.
        device: "auto", "cpu", "cuda" or "cuda:N"; the teacher is on it.

    Raises:
        ConfigError: the checkpoint is damaged or was written with other settings, or the plan asks for a kind of image
            of which there is none.
        ModelError: the device is not there.
    """
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    described = json.dumps(asdict(settings), default=str)
    checkpoint = read_checkpoint(folder, described)
    if checkpoint is not None and (checkpoint.modules["statistics"] is None) != (teacher is None):
        raise ConfigError(
            f"The interrupted training in {folder} was started {'without' if teacher else 'with'} a teacher.",
            "Go on as it was started, give another --out, or delete its checkpoint.",
        )
    merges = learn_merges(every_wording(), settings.merges)
    write_merges(folder / MERGES_FILE, merges)
    (folder / VOCABULARY_FILE).write_text(json.dumps(known_words(every_wording())), encoding="utf-8")
    run = _Run(images, folder, settings, teacher, plan, vocabulary_size(merges), checkpoint, choose_device(device))
    names = [name for name in PHASES if name != "distil" or teacher is not None]
    remaining = names if checkpoint is None else names[names.index(checkpoint.phase) :]
    total = sum(getattr(settings, f"{name}_steps") for name in names)
    done = sum(getattr(settings, f"{name}_steps") for name in names if name not in remaining)
    history: list[HistoryEntry] = [] if checkpoint is None else list(checkpoint.history)
    for name in remaining:
        first = checkpoint.step if checkpoint is not None and checkpoint.phase == name else 0
        phase = run.phase(name, first)
        optimiser = torch.optim.AdamW(phase.groups, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
        if first and checkpoint is not None:
            optimiser.load_state_dict(checkpoint.modules["optimiser"])
        peaks = [group["lr"] for group in phase.groups]
        for step in range(first, phase.steps):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * _schedule(step, phase.steps)
            losses = _take_step(phase, optimiser, run.device)
            history.append((name, step, losses))
            if (step + 1) % CHECKPOINT_EVERY == 0:
                modules = {"optimiser": optimiser.state_dict(), **run.state(phase)}
                write_checkpoint(folder, Checkpoint(described, name, step + 1, modules, history))
            report(name, (done + step + 1) / total, losses)
        done += phase.steps
    save_embedded(run.model, folder)
    draw_curves(history, folder / "curves.png")
    remove_checkpoint(folder)


class _Run:
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

    def state(self, phase: _Phase) -> dict[str, object]:
        """For a checkpoint."""
        known = self._statistics
        views = phase.learning.to_views.state_dict() if isinstance(phase.learning, AlignmentStep) else None
        return {
            "model": self.model.state_dict(),
            "statistics": None if known is None else (known.mean, known.std),
            "to_views": views,
        }

    def phase(self, name: str, first: int) -> _Phase:
        """A phase by name; pictures are drawn anew from step `first`."""
        seed = self._settings.seed + first
        if name == "distil":
            return self._distil(seed)
        maker = BatchMaker(self._images, self._plan, seed)
        return self._text(maker) if name == "text" else self._align(maker, seed)

    def _distil(self, seed: int) -> _Phase:
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
        return _Phase("distil", settings.distil_steps, losses, _groups(parts, settings.distil_rate), parts)

    def _text(self, maker: BatchMaker) -> _Phase:
        model, settings = self.model, self._settings
        return _Phase(
            "text",
            settings.text_steps,
            lambda: text_loss(model, self._tokenizer, maker.draw_words(settings.text_batch)),
            _groups(model.text, settings.text_rate),
            model.text,
        )

    def _align(self, maker: BatchMaker, seed: int) -> _Phase:
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
        return _Phase("align", settings.align_steps, lambda: step.losses(maker.draw()), groups, step)


def _take_step(phase: _Phase, optimiser: torch.optim.Optimizer, device: torch.device) -> dict[str, float]:
    with torch.autocast(device.type, dtype=torch.bfloat16):
        losses = phase.losses()
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_([p for p in phase.learning.parameters() if p.grad is not None], 1.0)
    optimiser.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to `LOWEST_RATE`."""
    warm = min((step + 1) / min(WARMUP_STEPS, max(steps // 5, 1)), 1.0)
    return max(warm * 0.5 * (1 + math.cos(math.pi * step / steps)), LOWEST_RATE)


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
