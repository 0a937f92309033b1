"""What one head learns, and that each switch of learning does what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.backbones.text_adapter import TextAdapter, with_text_adapter
from anomalabel.config import AugmentationSettings
from anomalabel.errors import Cancelled
from anomalabel.localization.few_shot.grid import grid_features
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.training.episodes import EpisodicTraining, parameters_of
from anomalabel.training.few_shot.episode_loss import EpisodeBatch, episode_loss
from anomalabel.training.few_shot.fit_head import ShotMaterial, TextSource, fit_head
from anomalabel.training.few_shot.objective import Batch, objective
from anomalabel.training.few_shot.shots import make_views
from anomalabel.training.learned_start import LearnedStart

MILD = AugmentationSettings()


@pytest.fixture(scope="module")
def material(bench):
    """Four shots with eight views each."""
    settings = bench.make(training={"views": 8}).few_shot
    shots = [bench.shot(number) for number in range(4)]
    return [ShotMaterial(shot, make_views(shot, bench.encoder, settings, MILD, 0)) for shot in shots]


@pytest.fixture
def learn(bench, material):
    """Learns a head; returns it and the losses of each epoch."""

    def run(source=None, seed=0, start=None, of=None, **few_shot):
        settings = bench.make(**few_shot).few_shot
        channels = tuple(level.shape[0] for level in material[0].shot.patches[0].levels)
        shape = HeadShape.of(channels, bench.encoder.text_level, 16, settings)
        history = []
        learned = fit_head(
            of or material,
            shape,
            source or bench.source,
            settings,
            seed,
            lambda epoch, losses: history.append((epoch, losses)),
            start,
        )
        return learned, history

    return run


def equal(first, second):
    states = first.head.state_dict(), second.head.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def whole_batch(material):
    patches = [one for each in material for one in each.views.patches]
    return Batch(grid_features(patches), torch.cat([each.views.place for each in material]))


LONG = {"epochs": 40, "learning_rate": 0.01, "views": 8}


def test_alignment_learns_to_tell_planted_patches(bench, material, learn):
    learned, history = learn(training=LONG)
    assert [epoch for epoch, _ in history] == list(range(40))
    settings, batch = bench.make().few_shot, whole_batch(material)
    untrained = FewShotHead(learned.head.shape, torch.Generator().manual_seed(0))
    untrained.measure(grid_features([each.shot.patches[0] for each in material]))
    before, after = (
        float(objective(head, learned.texts, batch, settings)["alignment"].detach())
        for head in (untrained, learned.head)
    )
    assert after < 0.6 * before
    logit = learned.head(learned.head.scaled(batch.features), batch.features.seen, *pair(learned.texts), 0.1)
    assert float(logit[batch.place > 0.5].mean()) > float(logit[batch.place == 0].mean()) + 1
    assert not any(value.requires_grad for value in learned.head.parameters())


def pair(texts):
    return texts.healthy, texts.diseased


def test_the_same_seed_gives_the_same_head_whatever_the_global_state(learn):
    torch.manual_seed(1)
    first, _ = learn()
    torch.manual_seed(2)
    again, _ = learn()
    other, _ = learn(seed=1)
    assert equal(first, again)
    assert not equal(first, other)


def test_plain_texts_stay_as_they_are(bench, learn):
    learned, history = learn()
    plain = bench.source.plain()
    assert torch.equal(learned.texts.healthy, plain.healthy)
    assert torch.equal(learned.texts.diseased, plain.diseased)
    assert set(history[0][1]) == {"alignment"}


def test_prompts_learn_context_by_eq_5(bench, learn):
    prompts = {"enabled": True, "tokens": 3}
    learned, history = learn(prompts=prompts, training=LONG | {"epochs": 1})
    longer, long_history = learn(prompts=prompts, alignment=False, training=LONG | {"learning_rate": 0.02})
    plain = bench.source.plain()
    for one in (learned, longer):
        assert one.texts.healthy.shape == plain.healthy.shape
        assert not torch.allclose(one.texts.healthy, plain.healthy, atol=1e-3)
        assert not one.texts.healthy.requires_grad
        torch.testing.assert_close(one.texts.diseased.norm(dim=1), torch.ones(2))
    assert not torch.allclose(learned.texts.healthy, longer.texts.healthy, atol=1e-3)
    assert list(longer.head.parameters()) == []
    first, last = (np.mean([losses["prompts"] for _, losses in part]) for part in (long_history[:5], long_history[-5:]))
    assert last < first
    assert set(history[0][1]) == {"alignment", "prompts"}


def test_the_number_of_context_tokens_counts(learn):
    (few, _), (many, _) = (
        learn(prompts={"enabled": True, "tokens": tokens}, training=LONG | {"epochs": 1}) for tokens in (1, 6)
    )
    assert not torch.allclose(few.texts.healthy, many.texts.healthy, atol=1e-3)


def test_refinement_changes_what_is_learned(learn):
    refined, _ = learn(refinement={"enabled": True, "queries": 2, "heads": 2})
    names = [name for name in refined.head.state_dict() if name.startswith("refinement.")]
    fresh = FewShotHead(refined.head.shape, torch.Generator().manual_seed(0)).state_dict()
    assert any(not torch.equal(fresh[name], refined.head.state_dict()[name]) for name in names)


def test_simclr_adds_its_loss_and_changes_the_head(learn):
    plain, _ = learn()
    contrasted, history = learn(simclr={"enabled": True, "weight": 0.5})
    assert set(history[0][1]) == {"alignment", "simclr"}
    assert history[0][1]["simclr"] > 0
    assert not equal(plain, contrasted)


def test_simclr_finds_no_pairs_in_a_single_shot(material, learn):
    _, history = learn(of=material[:1], simclr={"enabled": True})
    assert set(history[0][1]) == {"alignment"}


def test_distillation_pulls_towards_the_teacher(bench, material, learn):
    def taught(sign, alpha):
        told = [
            ShotMaterial(one.shot, one.views, torch.stack([torch.zeros(9, 16), torch.full((9, 16), sign * 4.0)], -1))
            for one in material
        ]
        values = {"enabled": True, "teacher": "big", "alpha": alpha, "temperature": 1.0}
        learned, history = learn(of=told, distillation=values, training=LONG)
        assert set(history[0][1]) == {"alignment", "distillation"}
        features = whole_batch(material).features
        logit = learned.head(learned.head.scaled(features), features.seen, *pair(learned.texts), 0.1)
        return float(logit.mean())

    assert taught(1, 0.0) > taught(-1, 0.0) + 2
    # Labels alone: what the teacher says does not count.
    assert taught(1, 1.0) == pytest.approx(taught(-1, 1.0), abs=1e-6)


def test_a_language_adapter_changes_the_texts_and_nothing_else(bench, learn):
    source = bench.source
    adapter = TextAdapter(16, 4, source.model.identity, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(adapter.up.weight, generator=torch.Generator().manual_seed(1))
    adapted = TextSource(with_text_adapter(source.model, adapter), source.prompts)
    assert adapted.model.identity.weights_sha256 != source.model.identity.weights_sha256
    learned, _ = learn(source=adapted)
    assert torch.equal(learned.texts.healthy, adapter(source.plain().healthy))
    assert not torch.allclose(learned.texts.healthy, source.plain().healthy, atol=1e-3)
    with_context, _ = learn(source=adapted, prompts={"enabled": True})
    without, _ = learn(prompts={"enabled": True})
    assert not torch.allclose(with_context.texts.healthy, without.texts.healthy, atol=1e-3)


def test_a_start_takes_a_few_steps_of_plain_descent(bench, material, learn):
    settings = bench.make().few_shot
    channels = tuple(level.shape[0] for level in material[0].shot.patches[0].levels)
    module = FewShotHead(HeadShape.of(channels, 2, 16, settings), torch.Generator().manual_seed(77))
    start = LearnedStart(parameters_of(module), "0" * 64, "", EpisodicTraining(inner_rate=0.3))
    learned, history = learn(start=start, episodes={"path": "somewhere", "steps": 2})
    assert history == []
    # The same by the optimiser that torch has.
    module.measure(grid_features([each.shot.patches[0] for each in material]))
    patches = [one for each in material for one in (*each.views.patches, *each.shot.patches)]
    place = torch.cat([torch.cat([each.views.place, torch.zeros(1, 16)]) for each in material])
    batch = Batch(grid_features(patches), place)
    texts = bench.source.plain()
    descent = torch.optim.SGD(module.parameters(), lr=0.3)
    for _ in range(2):
        descent.zero_grad()
        objective(module, texts, batch, settings)["alignment"].backward()
        descent.step()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(learned.head.state_dict()[name], value, atol=1e-5, rtol=1e-4)
    one_step, _ = learn(start=start, episodes={"path": "somewhere", "steps": 1})
    assert not equal(one_step, learned)
    assert episode_loss(module)(parameters_of(module), EpisodeBatch.of(module, batch, texts, settings)) < episode_loss(
        module
    )(start.parameters, EpisodeBatch.of(module, batch, texts, settings))


@pytest.mark.parametrize(("batch_size", "steps"), [(32, 1), (4, 1), (3, 2), (1, 4)])
def test_an_epoch_shows_one_view_of_each_shot(learn, monkeypatch, batch_size, steps):
    from anomalabel.training.few_shot import fit_head as file

    shown = []
    original = file.objective

    def remember(head, texts, batch, settings):
        shown.append(batch)
        return original(head, texts, batch, settings)

    monkeypatch.setattr(file, "objective", remember)
    learn(training={"epochs": 2, "batch_size": batch_size, "views": 8})
    assert len(shown) == 2 * steps
    assert sum(len(batch.features) for batch in shown) == 2 * 4


def test_views_and_the_shot_itself_are_all_shown_in_time(material):
    from anomalabel.training.few_shot.fit_head import _pool

    pool = _pool(material)
    assert len(pool.features) == 4 * 9
    generator = torch.Generator().manual_seed(0)
    drawn = [pool.draw(generator) for _ in range(200)]
    for one in drawn:
        assert sorted(pool.shot[one].tolist()) == [0, 1, 2, 3]
    counts = torch.bincount(torch.cat(drawn), minlength=36)
    # 200 draws of one of nine each: 22 expected.
    assert counts.min() >= 8
    assert len({tuple(pool.shot[one].tolist()) for one in drawn}) > 10


def test_learning_can_be_cancelled_after_each_epoch(bench, material):
    settings = bench.make().few_shot
    told = []

    def tell(epoch, losses):
        told.append(epoch)
        if epoch == 1:
            raise Cancelled

    shape = HeadShape.of(tuple(level.shape[0] for level in material[0].shot.patches[0].levels), 2, 16, settings)
    with pytest.raises(Cancelled):
        fit_head(material, shape, bench.source, settings, 0, tell)
    assert told == [0, 1]


def test_weight_decay_and_rate_are_used(learn):
    heads = [
        learn(training={"epochs": 2, **values})[0]
        for values in ({}, {"weight_decay": 5.0}, {"learning_rate": 0.5}, {"epochs": 3})
    ]
    assert not any(equal(heads[0], other) for other in heads[1:])
