"""Trains the medical language adapter on report sentences alone (few_shot_localization.txt section 4.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.text_adapter import TextAdapter
from anomalabel.errors import ConfigError
from anomalabel.training.report_pairs import ReportPairs, pair_loss
from anomalabel.training.report_sentences import FEWEST_SENTENCES, ReportSentences, gather_sentences

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is; may raise `Cancelled`."""

FEWEST_REPORTS = 50
"""Usable ones, so that at least five are held out."""

HELD_OUT = 0.1
EVALUATION_DRAWS = 8
SCALES = torch.logspace(-1, 2, 31).tolist()
"""Inverse temperatures that are tried; the lowest is nearly a blind guess."""

ENCODED_AT_ONCE = 128


@dataclass(frozen=True)
class LanguageAdapterTraining:
    """How the adapter is trained.

    Args:
        batch: reports a step; each finds its own second sentence among those of the others.
        anchor: weight of staying where the unadapted vectors are, beside the choice.
        hidden: width of the adapter's bottleneck.
    """

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    anchor: float = 0.3
    hidden: int = 64
    seed: int = 0


@dataclass(frozen=True)
class AdapterFacts:
    """What was learned from and what came of it.

    Args:
        reports, held_out: usable reports that were learned from, and that were not.
        sentences: different ones in all of them.
        too_long, repeated, short: as in `ReportSentences`.
        unknown_words, words: different words that the model never saw, as far as that is known, and all of them.
        loss_before, loss_after: of held-out reports, `pair_loss` without and with the adapter, each at the scale that
            suits it best on the reports learned from: vectors that are merely surer or less sure gain nothing.
        loss_of_chance: of a blind guess among as many reports.
        closeness: mean cosine of adapted and unadapted vectors of held-out sentences, 1 = nothing moved.
    """

    reports: int
    held_out: int
    sentences: int
    too_long: int
    repeated: int
    short: int
    unknown_words: int
    words: int
    loss_before: float
    loss_after: float
    loss_of_chance: float
    closeness: float

    @property
    def improved(self) -> bool:
        """Whether held-out reports are told apart better with the adapter than without it and than by chance."""
        return self.loss_after < min(self.loss_before, self.loss_of_chance)


@dataclass(frozen=True)
class TrainedAdapter:
    """The adapter, on the CPU, with the facts of its training and the settings of it."""

    adapter: TextAdapter
    facts: AdapterFacts
    settings: LanguageAdapterTraining

    def as_json(self) -> dict[str, object]:
        """Facts and settings for the adapter's file."""
        return {"facts": asdict(self.facts), "settings": asdict(self.settings)}


def train_language_adapter(
    reports: Sequence[str], model: ImageTextModel, settings: LanguageAdapterTraining, progress: Progress
) -> TrainedAdapter:
    """Learn an adapter from reports: two sentences of a report find each other among those of other reports.

    Why this objective. The tower is frozen and there are no images, so all that reports can teach is which statements
    go together in one patient. The similarity that suits the choice best is the pointwise mutual information of two
    sentences (van den Oord et al. 2018): "the heart is enlarged" comes close to "small effusions on both sides", and
    what stands in every report comes close to nothing in particular. Predicting masked words would need the tower's
    inside, and bringing paraphrases together would need to know them.

    The anchor, 1 - cos(adapted, unadapted), keeps each vector near its old place, where the image tower expects it; the
    adapter's `REACH` forbids to go far. What all sentences of a field share, the choice would otherwise pull together
    first, texts for health and disease among them.

    A tenth of the reports is held out and only judged on, never chosen by: the adapter is that of the last epoch, even
    where it is worse on them, which `facts.improved` says. Their pairs are new, single sentences of them may not be.
    Reports of one patient can fall on both sides, since nothing here names patients.

    Args:
        reports: texts of whole reports.
        progress: called for sentences encoded, then for epochs; raising `Cancelled` in it stops the work.

    Raises:
        ConfigError: fewer than `FEWEST_REPORTS` usable reports.
    """
    gathered = gather_sentences(reports, model)
    if len(gathered.reports) < FEWEST_REPORTS:
        raise ConfigError(
            f"Of {len(reports)} reports {len(gathered.reports)} can be learned from, at least {FEWEST_REPORTS} are "
            f"needed; {gathered.short} have fewer than {FEWEST_SENTENCES} sentences, {gathered.repeated} repeat another"
            f", {gathered.too_long} sentences are too long for {model.identity.name}.",
            "Give more reports, one a row.",
        )
    generator = torch.Generator().manual_seed(settings.seed)
    vectors = _encode(gathered.sentences, model, progress)
    order = torch.randperm(len(gathered.reports), generator=generator).tolist()
    held = round(HELD_OUT * len(order))
    learning = ReportPairs([gathered.reports[number] for number in order[held:]])
    judging = ReportPairs([gathered.reports[number] for number in order[:held]])
    adapter = TextAdapter(vectors.shape[1], settings.hidden, model.identity, generator).to(vectors.device)
    start = _best_scale(adapter, learning, vectors, settings)
    loss_before, loss_of_chance = _judge(adapter, judging, vectors, settings, (start, 0.0))
    _learn(adapter, learning, vectors, settings, start, generator, progress)
    adapter.eval().requires_grad_(False)
    end = _best_scale(adapter, learning, vectors, settings)
    (loss_after,) = _judge(adapter, judging, vectors, settings, (end,))
    seen = vectors[judging.sentences.unique().to(vectors.device)]
    words, unknown = _count_words(gathered, model)
    facts = AdapterFacts(
        reports=len(order) - held,
        held_out=held,
        sentences=len(gathered.sentences),
        too_long=gathered.too_long,
        repeated=gathered.repeated,
        short=gathered.short,
        unknown_words=unknown,
        words=words,
        loss_before=loss_before,
        loss_after=loss_after,
        loss_of_chance=loss_of_chance,
        closeness=float((adapter(seen) * seen).sum(1).mean()),
    )
    return TrainedAdapter(adapter.cpu(), facts, settings)


def _encode(sentences: Sequence[str], model: ImageTextModel, progress: Progress) -> Tensor:
    """(S, D) unit vectors. Short and long sentences apart, and read through the way that computes no padding."""
    order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
    nothing = torch.empty(0, model.context_width)
    parts = []
    for first in range(0, len(order), ENCODED_AT_ONCE):
        progress("reading sentences", first, len(order))
        texts = [sentences[number] for number in order[first : first + ENCODED_AT_ONCE]]
        with torch.no_grad():
            parts.append(model.encode_with_context(texts, nothing))
    progress("reading sentences", len(order), len(order))
    return torch.cat(parts)[torch.tensor(order).argsort()]


def _learn(
    adapter: TextAdapter,
    pairs: ReportPairs,
    vectors: Tensor,
    settings: LanguageAdapterTraining,
    scale: float,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """The scale learns too, so that the adapter need not spend its reach on being surer or less sure."""
    log_scale = nn.Parameter(torch.tensor(scale, device=vectors.device).log())
    groups: list[dict[str, Any]] = [{"params": adapter.parameters()}, {"params": [log_scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    for epoch in range(settings.epochs):
        progress("learning", epoch, settings.epochs)
        for chosen in _batches(torch.randperm(len(pairs.counts), generator=generator), settings.batch):
            before, after, shared = _draw(adapter, pairs, chosen, vectors, generator)
            moved = (1 - (after * before).sum(-1)).mean()
            optimiser.zero_grad(set_to_none=True)
            (pair_loss(after[0], after[1], shared, log_scale.exp()) + settings.anchor * moved).backward()
            optimiser.step()
        schedule.step()
    progress("learning", settings.epochs, settings.epochs)


def _best_scale(adapter: TextAdapter, pairs: ReportPairs, vectors: Tensor, settings: LanguageAdapterTraining) -> float:
    losses = _judge(adapter, pairs, vectors, settings, SCALES, draws=1)
    return SCALES[losses.index(min(losses))]


def _judge(
    adapter: TextAdapter,
    pairs: ReportPairs,
    vectors: Tensor,
    settings: LanguageAdapterTraining,
    scales: Sequence[float],
    draws: int = EVALUATION_DRAWS,
) -> list[float]:
    """Mean `pair_loss` at each scale over several draws, the same ones at each call."""
    generator = torch.Generator().manual_seed(settings.seed)
    losses = []
    with torch.no_grad():
        for _ in range(draws):
            for chosen in _batches(torch.arange(len(pairs.counts)), settings.batch):
                _, after, shared = _draw(adapter, pairs, chosen, vectors, generator)
                losses.append(torch.stack([pair_loss(after[0], after[1], shared, scale) for scale in scales]))
    return torch.stack(losses).mean(0).tolist()


def _draw(
    adapter: TextAdapter, pairs: ReportPairs, chosen: Tensor, vectors: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Unadapted and adapted vectors (2, n, D) of two sentences of each chosen report, and `shared` of `pair_loss`."""
    one, other = pairs.draw(chosen, generator)
    shared = (pairs.stands_in(chosen, other) | pairs.stands_in(chosen, one).T).to(vectors.device)
    before = vectors[torch.stack([one, other]).to(vectors.device)]
    return before, adapter(before), shared


def _batches(order: Tensor, size: int) -> tuple[Tensor, ...]:
    """Parts of nearly the same length: a last one of few reports would choose among few."""
    return order.tensor_split(-(-len(order) // size))


def _count_words(gathered: ReportSentences, model: ImageTextModel) -> tuple[int, int]:
    """Different words of letters, and how many of them the model never saw."""
    letters = ("".join(letter if letter.isalpha() else " " for letter in text) for text in gathered.sentences)
    words = {word.lower() for text in letters for word in text.split()}
    return len(words), len(model.unknown_words(sorted(words)))
