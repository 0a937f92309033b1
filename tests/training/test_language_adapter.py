"""Learning an adapter from reports made up here: each tells of one disease or of health."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.text_adapter import REACH
from anomalabel.errors import Cancelled, ConfigError
from anomalabel.training.language_adapter import (
    FEWEST_REPORTS,
    LanguageAdapterTraining,
    TrainedAdapter,
    train_language_adapter,
)

KINDS = {
    "normal": ("normal brain", "healthy gray matter", "no lesion seen", "normal chest"),
    "glioma": ("glioma of the brain", "tumor with gray rim", "lesion in the matter", "brain tumor"),
}

TRAINING = LanguageAdapterTraining(epochs=25)


def reports(count: int, seed: int = 0) -> list[str]:
    """Three statements of one kind each, and a number that makes every report another."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        statements = chance.sample(KINDS[chance.choice(list(KINDS))], 3)
        made.append(f"Study number {number}. " + ". ".join(statements) + ".")
    return made


def ignore(what: str, done: int, total: int) -> None:
    return None


@pytest.fixture(scope="module")
def trained(tiny_clip: OpenClipModel) -> TrainedAdapter:
    return train_language_adapter(reports(300), tiny_clip, TRAINING, ignore)


def test_held_out_reports_are_told_apart_better(trained: TrainedAdapter, tiny_clip: OpenClipModel) -> None:
    facts = trained.facts
    assert (facts.reports, facts.held_out, facts.sentences) == (270, 30, 300 + 8)
    assert facts.improved
    assert facts.loss_after < facts.loss_before - 0.05
    assert (1 - REACH**2) ** 0.5 < facts.closeness < 0.999
    assert trained.adapter.model == tiny_clip.identity


def test_statements_of_one_kind_come_together(trained: TrainedAdapter, tiny_clip: OpenClipModel) -> None:
    texts = [f"{text}." for statements in KINDS.values() for text in statements]
    kind = torch.arange(8) // 4
    same = (kind[:, None] == kind[None]) & ~torch.eye(8, dtype=torch.bool)
    other = kind[:, None] != kind[None]
    before = tiny_clip.encode_texts(texts)
    after = trained.adapter(before)
    gaps = [float((one @ one.T)[same].mean() - (one @ one.T)[other].mean()) for one in (before, after)]
    assert gaps[1] > gaps[0] + 0.02


def test_the_same_seed_gives_the_same_adapter(trained: TrainedAdapter, tiny_clip: OpenClipModel) -> None:
    again = train_language_adapter(reports(300), tiny_clip, TRAINING, ignore)
    torch.testing.assert_close(again.adapter.state_dict(), trained.adapter.state_dict(), rtol=0, atol=0)
    assert again.facts == trained.facts
    other = train_language_adapter(reports(300), tiny_clip, LanguageAdapterTraining(epochs=1, seed=1), ignore)
    assert other.facts.loss_before != trained.facts.loss_before


def test_reports_without_any_order_are_not_called_better_learned(tiny_clip: OpenClipModel) -> None:
    """Sentences shuffled over reports: less than chance is no improvement on anything."""
    chance = random.Random(3)
    words = [text for statements in KINDS.values() for text in statements]
    shuffled = [f"Study number {number}. " + ". ".join(chance.sample(words, 3)) for number in range(60)]
    facts = train_language_adapter(shuffled, tiny_clip, LanguageAdapterTraining(epochs=40), ignore).facts
    assert facts.loss_after > facts.loss_of_chance
    assert not facts.improved


@pytest.mark.parametrize(("before", "after", "improved"), [(1.4, 1.3, True), (1.2, 1.3, False), (1.8, 1.7, False)])
def test_improved_means_better_than_before_and_than_chance(
    trained, before: float, after: float, improved: bool
) -> None:
    facts = replace(trained.facts, loss_before=before, loss_after=after, loss_of_chance=1.6)
    assert facts.improved == improved


def test_unknown_words_are_counted(tiny_clip: OpenClipModel, trained: TrainedAdapter) -> None:
    said = {"study", "number"} | {word for statements in KINDS.values() for text in statements for word in text.split()}
    assert trained.facts.words == len(said)
    assert trained.facts.unknown_words == len(tiny_clip.unknown_words(sorted(said)))


def test_the_file_gets_finite_numbers(trained: TrainedAdapter) -> None:
    facts, settings = trained.as_json()["facts"], trained.as_json()["settings"]
    assert facts["loss_after"] == trained.facts.loss_after
    assert settings["epochs"] == 25
    assert all(math.isfinite(value) for value in (*facts.values(), *settings.values()))


def test_chance_is_the_logarithm_of_the_number_of_reports(tiny_clip: OpenClipModel) -> None:
    """Reports that share no sentence: nothing is masked."""
    apart = [f"Brain {number} normal. Glioma {number} healthy." for number in range(60)]
    facts = train_language_adapter(apart, tiny_clip, LanguageAdapterTraining(epochs=1), ignore).facts
    assert facts.held_out == 6
    assert facts.loss_of_chance == pytest.approx(math.log(6), rel=1e-5)


def test_too_few_reports(tiny_clip: OpenClipModel) -> None:
    given = [*reports(FEWEST_REPORTS - 1), "Normal.", "A tumor. " + "brain " * 80, reports(1)[0]]
    with pytest.raises(
        ConfigError, match=r"Of 52 reports 49 can be learned from, at least 50 are needed; 2 have fewer"
    ):
        train_language_adapter(given, tiny_clip, LanguageAdapterTraining(), ignore)


def test_progress_and_cancelling(tiny_clip: OpenClipModel) -> None:
    seen: list[tuple[str, int, int]] = []
    train_language_adapter(reports(60), tiny_clip, LanguageAdapterTraining(epochs=2), lambda *step: seen.append(step))
    assert seen == [
        ("reading sentences", 0, 68),
        ("reading sentences", 68, 68),
        *(("learning", n, 2) for n in range(3)),
    ]

    def cancel(what: str, done: int, total: int) -> None:
        if (what, done) == ("learning", 1):
            raise Cancelled

    with pytest.raises(Cancelled):
        train_language_adapter(reports(60), tiny_clip, LanguageAdapterTraining(epochs=2), cancel)
