"""Trains the small image-text model that ships with the package: teacher's features, then texts, then both together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from anomalabel.backbones.device import choose_device
from anomalabel.backbones.embedded_model import save_embedded
from anomalabel.backbones.loading import MERGES_FILE, VOCABULARY_FILE
from anomalabel.backbones.patch_encoders import hash_of
from anomalabel.training.captions import every_wording
from anomalabel.training.checkpoint import (
    Checkpoint,
    HistoryEntry,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from anomalabel.training.curves import draw_curves
from anomalabel.training.distillation import Teacher
from anomalabel.training.images import BatchPlan, TrainingImages
from anomalabel.training.phases import PHASES, Phase, TrainingRun
from anomalabel.training.plan import PLAN
from anomalabel.training.settings import EmbeddedTraining
from anomalabel.training.tokenizer import known_words, learn_merges, vocabulary_size, write_merges

Report = Callable[[str, float, dict[str, float]], None]
"""Called after each step with the phase's name, the part of all steps that is done (0 to 1) and the losses."""

CHECKPOINT_EVERY = 200
WARMUP_STEPS = 100
LOWEST_RATE = 0.01
"""Of the peak learning rate, at the end of each phase."""


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
    described = _describe(settings, images, teacher, plan)
    checkpoint = read_checkpoint(folder, described)
    merges = learn_merges(every_wording(), settings.merges)
    write_merges(folder / MERGES_FILE, merges)
    (folder / VOCABULARY_FILE).write_text(json.dumps(known_words(every_wording())), encoding="utf-8")
    run = TrainingRun(
        images, folder, settings, teacher, plan, vocabulary_size(merges), checkpoint, choose_device(device)
    )
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


def _take_step(phase: Phase, optimiser: torch.optim.Optimizer, device: torch.device) -> dict[str, float]:
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


def _describe(settings: EmbeddedTraining, images: TrainingImages, teacher: Teacher | None, plan: BatchPlan) -> str:
    """All that decides what is learned, as text, so that nothing else goes on from a checkpoint of it."""
    kinds = Counter(zip(images.anatomy.tolist(), images.condition.tolist(), strict=True))
    return json.dumps(
        {
            "settings": asdict(settings),
            "images": sorted((*kind, count) for kind, count in kinds.items()),
            "teacher": hash_of(teacher) if isinstance(teacher, nn.Module) else type(teacher).__name__,
            "plan": [
                sorted((str(kind), count) for kind, count in part.items())
                for part in (plan.singles, plan.planted, plan.crops)
            ],
        }
    )
