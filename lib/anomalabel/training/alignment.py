"""Ties the embedded model's images, patches and bottleneck tokens to texts: one training step's losses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import open_clip
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from anomalabel.backbones.blocks import run_blocks
from anomalabel.backbones.embedded_model import EmbeddedModel
from anomalabel.backbones.hybrid import COARSE_STRIDE
from anomalabel.training.captions import Caption, changed_in_one_word
from anomalabel.training.distillation import FeatureStatistics, Teacher, imitation_loss
from anomalabel.training.facts import HEALTHY, Facts, truth_table
from anomalabel.training.images import Batch
from anomalabel.training.losses import (
    caption_loss,
    one_word_loss,
    patch_text_loss,
    planted_pair_loss,
    simclr_loss,
    status_loss,
)
from anomalabel.training.views import ViewRange, draw_views

COVERED = 0.3
"""A patch is lesion when at least this share of it is covered."""

TOUCHED = 0.01
"""A patch is outside when less than this share is covered; a planted lesion's soft edge never falls to 0. Between this
and `COVERED` nobody says."""

VIEWED = 4
"""Images of a batch that are shown a second time for SimCLR."""

IMITATED = 12
"""Images of a batch on which the teacher is asked, so that its features are not lost."""

KEPT, DROPPED = 0.6, 0.3
"""At least, and at most, this much of a token is kept where the bottleneck should keep it, or drop it."""

NOTHING_KEPT = 4
"""Images of a batch of which the bottleneck keeps nothing."""

SECOND_VIEW = ViewRange(zoom=(0.6, 1.0), turn=0.3, shift=0.05, mirror=0.0, invert=0.0)


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts."""

    caption: float = 0.5
    one_word: float = 0.25
    status: float = 1.0
    pair: float = 0.5
    patch: float = 1.0
    evidence: float = 0.5
    simclr: float = 0.1
    imitation: float = 2.0


class AlignmentStep(nn.Module):
    """One step's forward pass.

    Args:
        teacher, statistics: what the patch features go on imitating; None where nothing was distilled.
    """

    def __init__(
        self,
        model: EmbeddedModel,
        tokenizer: open_clip.SimpleTokenizer,
        teacher: Teacher | None,
        statistics: FeatureStatistics | None,
        weights: LossWeights,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.to_views = nn.Linear(model.settings.image.embedding, 64, device=model.logit_scale.device)
        self._tokenizer = tokenizer
        self._words = random.Random(seed)
        self._teacher = teacher
        self._statistics = statistics
        self._weights = weights
        self._encoded: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)
        self._device = model.logit_scale.device
        self._scale = float(model.logit_scale.exp())
        depth = model.visual.depth
        self._supervised = (depth // 2 - 1, depth - 1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch on the model's device, weighted."""
        batch = batch.to(self._device)
        visual, count = self.model.visual, len(batch.images)
        viewed = torch.randperm(count, generator=self._generator)[:VIEWED]
        again = draw_views(batch.images[viewed].cpu(), batch.images.shape[-1], SECOND_VIEW, self._generator)
        grey = torch.cat([batch.images, again.to(self._device)])
        maps = visual.feature_maps(visual.normalise(grey))
        tokens = visual.tokens(maps[1])
        layers = []
        for block in visual.blocks:
            tokens = run_blocks([block], tokens)
            layers.append(tokens)
        embedded = functional.normalize(visual.embed_from(tokens, visual.depth - 1).float(), dim=-1)
        images = embedded[:count]
        changed = [
            changed_in_one_word(facts, caption, self._words)
            for facts, caption in zip(batch.facts, batch.captions, strict=True)
        ]
        rows = [number for number, caption in enumerate(changed) if caption is not None]
        wrong = [caption for caption in changed if caption is not None]
        encoded = self._encode([*batch.captions, *batch.positive, *batch.negative, *wrong])
        captions, positive, negative, one_word = encoded.split([count, count, count, len(wrong)])
        texts = [*batch.positive, *batch.negative]
        coverage = functional.avg_pool2d(batch.lesion[:, None], COARSE_STRIDE).flatten(1)
        compared = batch.comparable
        claims = [caption.says for caption in batch.captions]
        losses = {
            "caption": caption_loss(images, captions, *self._truth(claims, batch.facts), self._scale),
            "one_word": one_word_loss(images[rows], captions[rows], one_word, self._scale),
            "status": status_loss(
                images[compared], positive[compared], negative[compared], batch.diseased[compared], self._scale
            ),
            "pair": planted_pair_loss(
                images[batch.planted],
                images[batch.clean],
                positive[batch.planted],
                negative[batch.planted],
                self._scale,
            ),
            "patch": self._patch_loss(layers, batch, coverage, texts, torch.cat([positive, negative])),
            "evidence": self._evidence_loss(layers, batch, coverage, positive, negative),
            "simclr": simclr_loss(
                functional.normalize(self.to_views(images[viewed]), dim=-1),
                functional.normalize(self.to_views(embedded[count:]), dim=-1),
            ),
        }
        if self._teacher is not None and self._statistics is not None:
            asked = torch.randperm(count, generator=self._generator)[:IMITATED].to(self._device)
            with torch.no_grad():
                target = self._statistics.standardise(self._teacher(grey[asked]))
            losses["imitation"] = imitation_loss(visual.patch_features((maps[0][asked], maps[1][asked])), target)
        return {name: getattr(self._weights, name) * loss for name, loss in losses.items()}

    def _patch_loss(
        self, layers: list[Tensor], batch: Batch, coverage: Tensor, texts: list[Caption], encoded: Tensor
    ) -> Tensor:
        place = torch.where(coverage >= COVERED, 1.0, torch.where(coverage >= TOUCHED, torch.nan, 0.0))
        place = torch.where(batch.located[:, None], place, torch.nan)
        claims = [text.says for text in texts]
        inside = self._truth(claims, batch.facts)
        outside = self._truth(claims, [_healthy(facts) for facts in batch.facts])
        count = len(batch.images)
        parts = []
        for number in self._supervised:
            patches = functional.normalize(self.model.visual.project_patches(layers[number][:count]).float(), dim=-1)
            parts.append(patch_text_loss(patches, encoded, place, inside, outside, self._scale))
        return torch.stack(parts).mean()

    def _evidence_loss(
        self, layers: list[Tensor], batch: Batch, coverage: Tensor, positive: Tensor, negative: Tensor
    ) -> Tensor:
        """What CLAP's bottleneck does, with the answer known.

        At a random block most of the other tokens' information is replaced by the bottleneck's noise: the lesion alone
        is disease, everything but the lesion is health, and noise alone is neither.
        """
        visual = self.model.visual
        rows = torch.nonzero(batch.located & (batch.diseased > 0) & (coverage.amax(1) >= COVERED))[:, 0]
        if not len(rows):
            return positive.sum() * 0
        layer = int(torch.randint(visual.depth - 1, (), generator=self._generator))
        tokens = layers[layer][rows].float()
        inside = (coverage[rows] >= TOUCHED).float()[..., None]
        drawn = torch.rand(2, len(rows), 1, 1, generator=self._generator).to(self._device)
        keep, drop = KEPT + (1 - KEPT) * drawn[0], DROPPED * drawn[1]
        kept = torch.cat(
            [
                inside * keep + (1 - inside) * drop,
                (1 - inside) * keep + inside * drop,
                torch.zeros_like(inside[:NOTHING_KEPT]),
            ]
        )
        few = len(rows[:NOTHING_KEPT])
        noise = torch.randn((len(kept), *tokens.shape[1:]), generator=self._generator).to(self._device)
        mixed = kept * torch.cat([tokens, tokens, tokens[:few]]) + (1 - kept) * noise
        images = functional.normalize(visual.embed_from(mixed, layer).float(), dim=-1)
        status = torch.cat([torch.ones(len(rows)), torch.zeros(len(rows)), torch.full((few,), 0.5)]).to(self._device)
        asked = torch.cat([rows, rows, rows[:few]])
        return status_loss(images, positive[asked], negative[asked], status, self._scale)

    def _truth(self, claims: Sequence[Facts], images: Sequence[Facts]) -> tuple[Tensor, Tensor]:
        true, false = truth_table(claims, images)
        return torch.from_numpy(true).to(self._device), torch.from_numpy(false).to(self._device)

    def _encode(self, captions: Sequence[Caption]) -> Tensor:
        """Unit vectors (N, D). The text tower is done learning by now, so each wording is encoded once."""
        new = list(dict.fromkeys(caption.text for caption in captions if caption.text not in self._encoded))
        if new:
            with torch.no_grad():
                vectors = encode_texts(self.model, self._tokenizer, new)
            self._encoded.update(zip(new, vectors, strict=True))
        return torch.stack([self._encoded[caption.text] for caption in captions])


def text_loss(
    model: EmbeddedModel, tokenizer: open_clip.SimpleTokenizer, captions: Sequence[Caption]
) -> dict[str, Tensor]:
    """Wordings that claim the same come together, others apart; no image is needed."""
    texts = encode_texts(model, tokenizer, [caption.text for caption in captions])
    claims = [caption.says for caption in captions]
    true, false = (torch.from_numpy(table).to(texts.device) for table in truth_table(claims, claims))
    return {"text": caption_loss(texts, texts, true, false, float(model.logit_scale.exp()))}


def encode_texts(model: EmbeddedModel, tokenizer: open_clip.SimpleTokenizer, texts: Sequence[str]) -> Tensor:
    """Unit vectors (N, D) float32 of as many tokens as the longest text needs."""
    codes = tokenizer(list(texts)).to(model.logit_scale.device)
    longest = int((codes != 0).sum(1).max())
    longest += -longest % 8
    mask: Tensor = model.text.attn_mask
    model.text.attn_mask = mask[:longest, :longest]
    try:
        return functional.normalize(model.encode_text(codes[:, :longest]).float(), dim=-1)
    finally:
        model.text.attn_mask = mask


def _healthy(facts: Facts) -> Facts:
    return Facts(anatomy=facts.anatomy, modality=facts.modality, plane=facts.plane, condition=HEALTHY)
