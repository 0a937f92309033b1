"""All that few-shot localization knows after learning, and how it scores slices with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from anomalabel.config import FewShotSettings
from anomalabel.localization.dropout import drop
from anomalabel.localization.few_shot.grid import GridFeatures, grid_features
from anomalabel.localization.few_shot.head import FewShotHead
from anomalabel.localization.fusion import MapScale, fuse
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.patch_features import SlicePatches, slice_score
from anomalabel.localization.scales import multi_scale
from anomalabel.localization.similarity import abnormal_logit, cosine_similarity, distance_to_healthy
from anomalabel.localization.suppression import suppress_specks
from anomalabel.volume import FloatArray

BANK, TEXT, HEAD = "bank", "text", "head"


@dataclass(frozen=True)
class ClassTexts:
    """Vectors of the texts for health (H, D) and for disease (T, D)."""

    healthy: Tensor
    diseased: Tensor


@dataclass(frozen=True)
class LearnedHead:
    """A head, the texts it learned with, and what it says about the healthy images that it did not learn from."""

    head: FewShotHead
    texts: ClassTexts
    scale: MapScale = field(default_factory=lambda: MapScale(0.0, 1.0))


@dataclass(frozen=True)
class FewShotModel:
    """The parts that a config turned on, each with its scale.

    Args:
        settings: of the method.
        bank: None where it is off.
        texts: of the plain texts; None where the part is off, or the text tower does not know the words.
        text_level: level of the features that texts are compared with.
        heads: () where nothing was learned.
        scales: of the bank and the texts, on held-out healthy images.
        score_share: of a slice's patches, the highest, whose mean is the image score.
    """

    settings: FewShotSettings
    bank: NormalBank | None
    texts: ClassTexts | None
    text_level: int | None
    heads: tuple[LearnedHead, ...]
    scales: Mapping[str, MapScale]
    score_share: float

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each kind of map that there is."""
        chosen = self.settings.weights
        there = {BANK: self.bank is not None, TEXT: self.texts is not None, HEAD: bool(self.heads)}
        return {kind: getattr(chosen, kind) for kind in there if there[kind]}

    def raw_maps(self, slices: Sequence[SlicePatches]) -> dict[str, FloatArray]:
        """Each kind of map (N, rows, columns) float32 of slices on the common grid, NaN where no body is.

        Bank and texts in their own units, heads in standard deviations of healthy patches.
        """
        features = grid_features(slices)
        maps: dict[str, FloatArray] = {}
        if self.bank is not None:
            maps[BANK] = self.bank.distances(slices)
        if self.texts is not None:
            maps[TEXT] = _map(self.text_scores(features), features)
        if self.heads:
            maps[HEAD] = _map(self.head_scores(features), features)
        return maps

    def anomaly_maps(self, slices: Sequence[SlicePatches]) -> FloatArray:
        """(N, rows, columns) float32 of slices on the common grid: standard deviations of healthy patches above their
        mean, NaN where no body is.
        """
        return self.fused(self.raw_maps(slices))

    def fused(self, maps: Mapping[str, FloatArray]) -> FloatArray:
        """Kinds of maps (N, rows, columns) made one: standardised, averaged, over scales, specks suppressed."""
        one = fuse(maps, {HEAD: MapScale(0.0, 1.0), **self.scales}, self.weights)
        if self.settings.scales != (1,):
            one = multi_scale(one, np.isfinite(one), self.settings.scales)
        if self.settings.suppression.enabled:
            one = suppress_specks(one, self.settings.suppression.minimum_area)
        return one

    def text_scores(self, features: GridFeatures, drawn: Tensor | None = None) -> Tensor:
        """(N, P): eq. 9 or its softmax variant; `drawn` stands in for the texts' level after dropout."""
        if self.texts is None or self.text_level is None:
            raise ValueError("this model compares nothing with plain texts")
        patches = features.levels[self.text_level] if drawn is None else drawn
        return text_scores(patches, self.texts, self.settings)

    def head_scores(self, features: GridFeatures) -> Tensor:
        """(N, P): mean over the heads of what each says, in its own standard deviations."""
        return torch.stack([head_scores(one, features, self.settings.temperature) for one in self.heads]).mean(0)

    def uncertainty_maps(
        self,
        slices: Sequence[SlicePatches],
        raw: Mapping[str, FloatArray],
        threshold: float,
        generator: torch.Generator,
    ) -> FloatArray | None:
        """How unsure it is that patches lie above a threshold, (N, rows, columns) float32 from 0 to 0.5.

        Eq. 10 on the bounded score 1 / (1 + exp((threshold - A) / softness)): its standard deviation over passes with
        dropout. That of the unbounded A tells nothing here: on planted anomalies it is no higher where the map is
        wrong (AUROC 0.5; of the bounded score 0.9). Dropout acts on the encoder's features, before texts and heads;
        each pass asks one head, so that heads which learned from other shots may disagree. The bank answers the same in
        each pass, unless it is all there is.

        Args:
            slices: on the common grid.
            raw: of `raw_maps`, of the same slices.
            threshold: of the anomaly map.
            generator: of the dropout.

        Returns:
            None where no passes are wanted.
        """
        settings = self.settings.uncertainty
        if settings.passes == 0 or settings.dropout == 0:
            return None
        features = grid_features(slices)
        fixed = {BANK: raw[BANK]} if BANK in raw and (TEXT in raw or HEAD in raw) else {}
        total = torch.zeros_like(features.seen, dtype=torch.float32)
        squares = torch.zeros_like(total)
        for number in range(settings.passes):
            maps = {**fixed, **self._dropped_maps(slices, features, number, generator)}
            one = fuse(maps, {HEAD: MapScale(0.0, 1.0), **self.scales}, self.weights)
            value = torch.from_numpy(np.nan_to_num(one)).flatten(1).to(total)
            value = ((value - threshold) / settings.softness).sigmoid()
            total += value
            squares += value.square()
        mean = total / settings.passes
        return _map((squares / settings.passes - mean.square()).clamp_min(0).sqrt(), features)

    def _dropped_maps(
        self, slices: Sequence[SlicePatches], features: GridFeatures, number: int, generator: torch.Generator
    ) -> dict[str, FloatArray]:
        """One pass: the kinds of maps that dropout acts on, as in `raw_maps`."""
        dropout = self.settings.uncertainty.dropout
        maps: dict[str, FloatArray] = {}
        if self.texts is not None and self.text_level is not None:
            drawn = drop(features.levels[self.text_level], dropout, generator)
            maps[TEXT] = _map(self.text_scores(features, drawn), features)
        if self.heads:
            one = self.heads[number % len(self.heads)]
            scaled = tuple(drop(level, dropout, generator) for level in one.head.scaled(features))
            maps[HEAD] = _map(_head_scores(one, scaled, features, self.settings.temperature), features)
        if not maps and self.bank is not None:
            maps[BANK] = self.bank.distances([_dropped(one, dropout, generator) for one in slices])
        return maps

    def image_score(self, maps: FloatArray) -> float:
        """Of an image's slices (N, rows, columns): the highest slice's mean over its highest patches."""
        return max(slice_score(one, self.score_share) for one in maps if np.isfinite(one).any())


def text_scores(patches: Tensor, texts: ClassTexts, settings: FewShotSettings) -> Tensor:
    """(N, P) of patches (N, P, D) in the texts' space."""
    if settings.text_score == "max":
        return distance_to_healthy(cosine_similarity(patches, texts.healthy))
    return abnormal_logit(patches, texts.healthy, texts.diseased, settings.temperature)


def head_scores(learned: LearnedHead, features: GridFeatures, temperature: float) -> Tensor:
    """(N, P): what a head says, in standard deviations of its held-out healthy patches."""
    return _head_scores(learned, learned.head.scaled(features), features, temperature)


def _head_scores(learned: LearnedHead, scaled: Sequence[Tensor], features: GridFeatures, temperature: float) -> Tensor:
    with torch.no_grad():
        logit = learned.head.logit(scaled, features.seen, learned.texts.healthy, learned.texts.diseased, temperature)
    return (logit - learned.scale.mean) / learned.scale.deviation


def _map(values: Tensor, features: GridFeatures) -> FloatArray:
    shown = torch.where(features.seen, values, torch.nan)
    return shown.unflatten(1, features.grid).cpu().numpy().astype(np.float32)


def _dropped(one: SlicePatches, probability: float, generator: torch.Generator) -> SlicePatches:
    return SlicePatches(one.frame, one.seen, tuple(drop(level, probability, generator) for level in one.levels))
