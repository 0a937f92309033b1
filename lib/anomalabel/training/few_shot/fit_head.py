"""Trains one head on the views of some shots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.config import FewShotSettings
from anomalabel.finding import PromptTexts
from anomalabel.localization.few_shot.grid import GridFeatures, grid_features
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import ClassTexts, LearnedHead
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.prompts.context import LearnablePrompts
from anomalabel.training.episodes import adapt
from anomalabel.training.few_shot.episode_loss import EpisodeBatch, episode_loss
from anomalabel.training.few_shot.objective import Batch, objective
from anomalabel.training.few_shot.shots import Shot, Views
from anomalabel.training.learned_start import LearnedStart

FINAL_RATE = 0.01
"""Of the learning rate, at the end of its cosine."""

Tell = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number from 0 and the losses; may raise Cancelled."""


@dataclass(frozen=True)
class ShotMaterial:
    """A shot, its views, and what a teacher says of them.

    Args:
        teacher: (V + S, P, 2) logits for the views, then for the S slices as they are; None without a teacher.
    """

    shot: Shot
    views: Views
    teacher: Tensor | None = None


@dataclass(frozen=True)
class TextSource:
    """Where the texts' vectors come from.

    Args:
        model: frozen.
        prompts: texts for and against disease.
    """

    model: ImageTextModel
    prompts: PromptTexts

    def plain(self) -> ClassTexts:
        """Vectors of the texts as they are."""
        return ClassTexts(
            self.model.encode_texts(self.prompts.negative), self.model.encode_texts(self.prompts.positive)
        )

    def behind(self, context: LearnablePrompts) -> ClassTexts:
        """Vectors of the texts behind learned context, differentiable."""
        return ClassTexts(
            context.healthy(self.model, self.prompts.negative), context.diseased(self.model, self.prompts.positive)
        )


def fit_head(
    material: Sequence[ShotMaterial],
    shape: HeadShape,
    source: TextSource,
    settings: FewShotSettings,
    seed: int,
    tell: Tell,
    start: LearnedStart | None = None,
) -> LearnedHead:
    """Learn from planted anomalies; the last epoch counts, since no image is left to choose another by.

    An epoch shows one view of each shot, or the shot as it is. With a start from episodes, a few steps of plain descent
    take the place of the epochs (eq. 11).

    Args:
        material: of the shots to learn from, at least one.
        shape: of the head.
        seed: of first weights and order.
        tell: hears of each epoch.
        start: parameters to adapt from.
    """
    generator = torch.Generator().manual_seed(seed)
    head = FewShotHead(shape, generator)
    pool = _pool(material)
    head.measure(grid_features([one for each in material for one in each.shot.patches]))
    head.to(pool.features.seen.device)
    if start is not None:
        texts = source.plain()
        support = EpisodeBatch.of(head, pool.batch(), texts, settings)
        here = {name: value.to(support.place.device) for name, value in start.parameters.items()}
        adapted = adapt(here, support, episode_loss(head), start.training.inner_rate, settings.episodes.steps)
        head.load_state_dict(dict(adapted), strict=False)
        return LearnedHead(head.requires_grad_(False), texts)
    context = (
        LearnablePrompts.starting_near_words(source.model, settings.prompts.tokens, generator)
        if settings.prompts.enabled
        else None
    )
    plain = source.plain()
    learned = [*head.parameters(), *(context.parameters() if context else ())]
    training = settings.training
    optimiser = torch.optim.AdamW(learned, training.learning_rate, weight_decay=training.weight_decay)
    steps_an_epoch = -(-len(material) // training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, training.epochs * steps_an_epoch, training.learning_rate * FINAL_RATE
    )
    for epoch in range(training.epochs):
        chosen = pool.draw(generator)
        sums: dict[str, float] = {}
        for numbers in chosen.split(training.batch_size):
            texts = plain if context is None else source.behind(context)
            losses = objective(head, texts, pool.batch(numbers, settings, generator), settings)
            optimiser.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimiser.step()
            schedule.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(numbers) / len(chosen)
        tell(epoch, sums)
    texts = plain
    if context is not None:
        with torch.no_grad():
            texts = source.behind(context)
    return LearnedHead(head.requires_grad_(False), ClassTexts(texts.healthy.detach(), texts.diseased.detach()))


@dataclass(frozen=True)
class _Pool:
    """All that may be shown: views and slices of all shots, and which shot each is of."""

    features: GridFeatures
    place: Tensor
    shot: Tensor
    teacher: Tensor | None

    def draw(self, generator: torch.Generator) -> Tensor:
        """One view of each shot, (shots,) int64, shuffled."""
        order = torch.randperm(len(self.features), generator=generator)
        shots = self.shot[order]
        first: Mapping[int, int] = {int(shot): place for place, shot in reversed(list(enumerate(shots.tolist())))}
        return order[torch.tensor(sorted(first.values()))]

    def batch(
        self,
        numbers: Tensor | None = None,
        settings: FewShotSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """These of the pool, all by default."""
        chosen = torch.arange(len(self.features)) if numbers is None else numbers
        pairs = None
        if settings is not None and settings.simclr.enabled and generator is not None:
            pairs = self._pairs(generator)
        teacher = None if self.teacher is None else self.teacher[chosen]
        return Batch(self.features.of(chosen), self.place[chosen], pairs, teacher)

    def _pairs(self, generator: torch.Generator) -> tuple[GridFeatures, GridFeatures] | None:
        """Two different healthy views of each shot that has them; None where fewer than two shots do."""
        healthy = ~self.place.bool().any(1).to(self.shot.device)
        first, second = [], []
        for shot in range(int(self.shot.max()) + 1):
            own = ((self.shot == shot) & healthy).nonzero()[:, 0]
            if len(own) > 1:
                one, other = own[torch.randperm(len(own), generator=generator)[:2]].tolist()
                first.append(one)
                second.append(other)
        if len(first) < 2:
            return None
        return self.features.of(torch.tensor(first)), self.features.of(torch.tensor(second))


def _pool(material: Sequence[ShotMaterial]) -> _Pool:
    patches: list[SlicePatches] = []
    places, teachers = [], []
    shots: list[int] = []
    for number, one in enumerate(material):
        own = (*one.views.patches, *one.shot.patches)
        patches += own
        places.append(one.views.place)
        places.append(torch.zeros(len(one.shot.patches), one.views.place.shape[1]).to(one.views.place))
        shots += [number] * len(own)
        if one.teacher is not None:
            teachers.append(one.teacher)
    teacher = torch.cat(teachers) if teachers else None
    return _Pool(grid_features(patches), torch.cat(places), torch.tensor(shots), teacher)
