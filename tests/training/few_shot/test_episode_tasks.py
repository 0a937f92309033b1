"""Tasks of episodes: who is in them, with what, and measured by whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.config import AugmentationSettings
from anomalabel.errors import ConfigError
from anomalabel.localization.few_shot.head import HeadShape
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.training.few_shot.episode_tasks import ShotByKind, TaskSet, draw_episode, planted_by_kind
from anomalabel.training.few_shot.shots import Shot, Views, make_views

SHAPE = HeadShape((1, 1), 0, 1, True, 0, 1)
"""Of two levels; the first is the texts' and keeps its numbers, the second is scaled."""

KINDS = {"cutpaste": 100.0, "gaussian_intensity": 200.0, "source_deformation": 300.0}


def patches(frame, value: float) -> SlicePatches:
    """The value on both levels of one channel, on a grid of 1 x 2."""
    return SlicePatches(frame, np.ones((1, 2), dtype=bool), (torch.full((1, 1, 2), float(value)),) * 2)


@pytest.fixture
def marked(bench):
    """Sets of shots whose features tell set, shot, kind and view: 10,000 a set, 1,000 a shot, 100 a kind, 1 a view."""
    frame = bench.shot(0).patches[0].frame
    settings = bench.make().few_shot

    def views(base: float, anomalous: float) -> Views:
        return Views(tuple(patches(frame, base + view) for view in range(2)), torch.tensor([[0.0, anomalous]] * 2))

    def make(number: int, shots: int = 5, healthy: bool = True) -> TaskSet:
        bases = [10_000 * number + 1000 * shot for shot in range(shots)]
        return TaskSet(
            tuple(
                ShotByKind(
                    Shot((), (patches(frame, base),)),
                    {kind: views(base + mark, 0.75) for kind, mark in KINDS.items()},
                    views(base + 400, 0.0) if healthy else None,
                )
                for base in bases
            ),
            ClassTexts(torch.tensor([[1.0 + number]]), torch.tensor([[-1.0 - number]])),
            settings.model_copy(update={"temperature": 0.1 * (number + 1)}),
        )

    return make


def marks(batch) -> np.ndarray:
    """What tells who is in a batch."""
    return batch.scaled[0][:, 0, 0].long().numpy()


def test_support_and_query_share_set_and_kinds_but_no_shot(marked):
    sets, generator = [marked(0), marked(1)], np.random.default_rng(0)
    seen_sets, seen_kinds, healthy_marks = set(), set(), set()
    for _ in range(60):
        episode = draw_episode(sets, SHAPE, generator)
        number = int(episode.support.texts.healthy.item()) - 1
        assert episode.query.texts is episode.support.texts
        assert episode.support.temperature == episode.query.temperature == pytest.approx(0.1 * (number + 1))
        support, query = marks(episode.support), marks(episode.query)
        adapted, judged = ({int(value) // 1000 - 10 * number for value in values} for values in (support, query))
        assert (len(adapted), len(judged)) == (2, 3)
        assert adapted | judged == set(range(5))
        healthy = np.array([10_000 * number + 1000 * shot for shot in adapted])
        expected = (query - healthy.mean()) / healthy.std()
        np.testing.assert_allclose(episode.query.scaled[1][:, 1, 0].numpy(), expected, rtol=1e-3)
        for values, batch in ((support, episode.support), (query, episode.query)):
            kinds = set(values % 1000 // 100)
            planted = kinds & {1, 2, 3}
            assert 1 <= len(planted) <= 2
            anomalous = np.isin(values % 1000 // 100, list(planted))
            assert batch.place[:, 0].eq(0).all()
            np.testing.assert_array_equal(batch.place[:, 1].numpy(), np.where(anomalous, 0.75, 0))
            assert len(values) == len(set(values // 1000)) * (len(planted) + 1)
            healthy_marks |= kinds - planted
        assert planted == set(support % 1000 // 100) & {1, 2, 3}
        seen_sets.add(number)
        seen_kinds.add(frozenset(planted))
    assert seen_sets == {0, 1}
    assert len(seen_kinds) == 6, "each kind alone, and each pair"
    assert healthy_marks == {0, 4}, "as it is, and augmented"


def test_without_augmented_healthy_views_the_slice_itself_is_shown(marked):
    episode = draw_episode([marked(0, shots=2, healthy=False)], SHAPE, np.random.default_rng(1))
    assert (episode.support.place.sum(1) == 0).sum() == 1


def test_the_same_generator_draws_the_same_task(marked):
    first, again, other = (draw_episode([marked(0)], SHAPE, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.query.scaled[0], again.query.scaled[0])
    assert not torch.equal(first.query.scaled[0], other.query.scaled[0])


def test_each_kind_gets_as_many_views_as_the_others(bench):
    config = bench.make(training={"views": 8}, tasks={"gaussian_intensity": 0, "cutpaste": 0.7})
    shot = bench.shot(0)
    made = planted_by_kind(shot, bench.encoder, config, 5)
    assert list(made.planted) == ["cutpaste", "source_deformation"]
    assert [len(views.patches) for views in made.planted.values()] == [2, 2]
    assert made.healthy is not None
    assert not made.healthy.place.any()
    assert all(views.place.any() for views in made.planted.values())
    only = config.few_shot.model_copy(
        update={
            "tasks": config.few_shot.tasks.model_copy(
                update={"cutpaste": 1.0, "source_deformation": 0.0, "identity": 0.0}
            ),
            "training": config.few_shot.training.model_copy(update={"views": 2}),
        }
    )
    expected = make_views(shot, bench.encoder, only, AugmentationSettings(), 5)
    torch.testing.assert_close(made.planted["cutpaste"].place, expected.place)


def test_a_config_without_anomalies_is_refused(bench):
    nothing = {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0}
    with pytest.raises(ConfigError, match="tissue plants no anomalies"):
        planted_by_kind(bench.shot(0), bench.encoder, bench.make(tasks=nothing), 0)


def test_a_shot_without_healthy_views(bench):
    made = planted_by_kind(bench.shot(0), bench.encoder, bench.make(tasks={"identity": 0}), 0)
    assert made.healthy is None
    assert made.planted.keys() == KINDS.keys()
