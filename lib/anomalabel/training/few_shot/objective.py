"""What a few-shot head is trained for: the losses of few_shot_localization.txt, each where its part is on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.config import FewShotSettings
from anomalabel.localization.few_shot.grid import GridFeatures
from anomalabel.localization.few_shot.head import FewShotHead
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.similarity import alignment_loss
from anomalabel.prompts.context import prompt_loss
from anomalabel.training.logit_distillation import logit_distillation_loss
from anomalabel.training.losses import simclr_loss

ANOMALOUS_IMAGE = 1.0
"""Patches: from this anomalous mass on a view counts as the image of a disease (eq. 5)."""


@dataclass(frozen=True)
class Batch:
    """Views of some shots.

    Args:
        features: of N views.
        place: (N, P) share of each patch that is anomalous.
        pairs: features of two augmented, healthy views each of M shots, for eq. 12; None where that is off.
        teacher: (N, P, 2) logits of a larger model for healthy and diseased (eq. 13); None where that is off.
    """

    features: GridFeatures
    place: Tensor
    pairs: tuple[GridFeatures, GridFeatures] | None = None
    teacher: Tensor | None = None


def objective(head: FewShotHead, texts: ClassTexts, batch: Batch, settings: FewShotSettings) -> dict[str, Tensor]:
    """Losses by name, each () and weighted, to be summed.

    Args:
        texts: of this step, differentiable where they are learned.
    """
    seen, tau = batch.features.seen, settings.temperature
    vectors = head.vectors(head.scaled(batch.features), seen)
    counted = torch.where(seen, batch.place, torch.nan)
    losses = {"alignment": _mean([alignment_loss(one, texts.healthy, texts.diseased, counted, tau) for one in vectors])}
    if settings.prompts.enabled:
        images = functional.normalize(_mean([pooled(one, seen) for one in vectors]), dim=-1)
        diseased = ((batch.place * seen).sum(1) >= ANOMALOUS_IMAGE).float()
        losses["prompts"] = prompt_loss(images, texts.healthy, texts.diseased, tau, diseased)
    if settings.simclr.enabled and batch.pairs is not None:
        first, second = (
            functional.normalize(
                torch.cat([pooled(v, pair.seen) for v in head.vectors(head.scaled(pair), pair.seen)], 1)
            )
            for pair in batch.pairs
        )
        losses["simclr"] = settings.simclr.weight * simclr_loss(first, second, settings.simclr.temperature)
    if settings.distillation.enabled and batch.teacher is not None:
        logit = head.logit(head.scaled(batch.features), seen, texts.healthy, texts.diseased, tau)[seen]
        student = torch.stack([torch.zeros_like(logit), logit], dim=-1)
        labels = (batch.place[seen] > 0.5).long()
        distillation = settings.distillation
        losses["distillation"] = logit_distillation_loss(
            student, batch.teacher[seen], labels, distillation.alpha, distillation.temperature
        )
    return losses


def pooled(vectors: Tensor, seen: Tensor) -> Tensor:
    """(N, D): mean over the seen patches of vectors (N, P, D), each of unit length first."""
    unit = functional.normalize(vectors, dim=-1) * seen[..., None]
    return unit.sum(1) / seen.sum(1, keepdim=True).clamp_min(1)


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(0)
