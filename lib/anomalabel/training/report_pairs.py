"""Two sentences of a report find each other among those of other reports: the draw and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.training.losses import EXCLUDED


class ReportPairs:
    """Draws two different sentences of each report, and knows which drawn sentences also stand in which report.

    Args:
        reports: indices of sentences, at least two different ones each.
    """

    def __init__(self, reports: Sequence[Sequence[int]]) -> None:
        self.sentences = torch.tensor([number for report in reports for number in report])
        self.counts = torch.tensor([len(report) for report in reports])
        self._first = self.counts.cumsum(0) - self.counts
        self._stride = int(self.sentences.max()) + 1
        owner = torch.arange(len(reports)).repeat_interleave(self.counts)
        self._present = (owner * self._stride + self.sentences).sort().values

    def draw(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(n,) sentences and (n,) others, one of each of the (n,) reports."""
        counts, first = self.counts[chosen], self._first[chosen]
        one = (torch.rand(len(chosen), generator=generator) * counts).long()
        step = 1 + (torch.rand(len(chosen), generator=generator) * (counts - 1)).long()
        return self.sentences[first + one], self.sentences[first + (one + step) % counts]

    def stands_in(self, chosen: Tensor, sentences: Tensor) -> Tensor:
        """(n, m) bool: whether report i of the (n,) chosen has sentence j of the (m,) sentences."""
        wanted = chosen[:, None] * self._stride + sentences[None]
        place = torch.searchsorted(self._present, wanted).clamp(max=len(self._present) - 1)
        return self._present[place] == wanted


def pair_loss(one: Tensor, other: Tensor, shared: Tensor, scale: Tensor | float) -> Tensor:
    """-log of the softmax with which sentence i chooses its partner among all partners, and the other way round.

    The form of few_shot_localization.txt eq. 12 with sentences of a report in place of views of an image.

    Args:
        one, other: (n, D) unit vectors, row i of both from report i.
        shared: (n, n) bool, pairs i, j that stand in one report as well, so no wrong answers; the diagonal is right.
        scale: the inverse temperature.
    """
    right = torch.eye(len(one), dtype=torch.bool, device=one.device)
    logits = (scale * one @ other.T).masked_fill(shared & ~right, EXCLUDED)
    target = torch.arange(len(one), device=one.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
