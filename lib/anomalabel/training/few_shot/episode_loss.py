"""What a head learns and adapts by in episodes (few_shot_localization.txt eq. 8 and 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from anomalabel.config import FewShotSettings
from anomalabel.localization.few_shot.head import FewShotHead
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.similarity import alignment_loss
from anomalabel.training.few_shot.objective import Batch


@dataclass(frozen=True)
class EpisodeBatch:
    """Views of some shots with all else that depends on the anatomy they show.

    Args:
        scaled: (N, P, C_l) of each used level, as the adapters take them.
        seen: (N, P) bool, patches that hold body.
        place: (N, P) share of each patch that is anomalous.
        texts: for health and disease of this anatomy.
        temperature: tau of eq. 8.
    """

    scaled: tuple[Tensor, ...]
    seen: Tensor
    place: Tensor
    texts: ClassTexts
    temperature: float

    @classmethod
    def of(cls, head: FewShotHead, batch: Batch, texts: ClassTexts, settings: FewShotSettings) -> EpisodeBatch:
        """A batch by the scale that a head measured."""
        features = batch.features
        return cls(head.scaled(features), features.seen, batch.place, texts, settings.temperature)


def episode_loss(head: FewShotHead) -> Callable[[Mapping[str, Tensor], EpisodeBatch], Tensor]:
    """Eq. 8 as a function of a head's parameters, the mean over its levels; what the head itself measured is not used.

    Args:
        head: whose shape the parameters have.
    """
    called = _Vectors(head)

    def loss(parameters: Mapping[str, Tensor], batch: EpisodeBatch) -> Tensor:
        named = {f"head.{name}": value for name, value in parameters.items()}
        vectors = functional_call(called, named, (batch.scaled, batch.seen))
        counted = torch.where(batch.seen, batch.place, torch.nan)
        texts, tau = batch.texts, batch.temperature
        levels = [alignment_loss(one, texts.healthy, texts.diseased, counted, tau) for one in vectors]
        return torch.stack(levels).mean(0)

    return loss


class _Vectors(torch.nn.Module):
    """`FewShotHead.vectors` as a module's call."""

    def __init__(self, head: FewShotHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, scaled: tuple[Tensor, ...], seen: Tensor) -> tuple[Tensor, ...]:
        return self.head.vectors(scaled, seen)
