"""Views of a shot: what was planted, where, and that nothing else decides them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.config import AugmentationSettings, TaskShares, load_config
from anomalabel.localization.framed_slices import FramedSlice
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.training.few_shot import shots as shots_file
from anomalabel.training.few_shot.shots import Shot, make_views
from anomalabel.training.tasks.draw import TASKS, TaskExample

STILL = AugmentationSettings(intensity_jitter=0)


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Names of the tasks that are drawn, in order."""
    names: list[str] = []
    original = shots_file.draw_task

    def remember(image, body, shares, generator):
        example = original(image, body, shares, generator)
        names.append(max(TASKS, key=lambda name: getattr(shares, name)))
        return example

    monkeypatch.setattr(shots_file, "draw_task", remember)
    return names


@pytest.fixture
def seen_images(monkeypatch) -> list[FramedSlice]:
    """What the encoder is shown."""
    shown: list[FramedSlice] = []
    original = shots_file.encode_framed

    def remember(encoder, framed):
        shown.extend(framed)
        return original(encoder, framed)

    monkeypatch.setattr(shots_file, "encode_framed", remember)
    return shown


def views_of(bench, shot, seed=0, store=None, augmentation=STILL, **few_shot):
    return make_views(shot, bench.encoder, bench.make(**few_shot).few_shot, augmentation, seed, store)


def same(first, second):
    return torch.equal(first.place, second.place) and all(
        torch.equal(a, b)
        for one, other in zip(first.patches, second.patches, strict=True)
        for a, b in zip(one.levels, other.levels, strict=True)
    )


@pytest.mark.parametrize("task", list(TASKS))
def test_a_share_of_one_makes_that_task_alone(bench, drawn, task):
    shares = {name: float(name == task) for name in TASKS}
    views = views_of(bench, bench.shot(0), tasks=shares, training={"views": 5})
    assert drawn == [task] * 5
    if task == "identity":
        assert not views.place.any()
        assert len(views.healthy) == 5
    else:
        assert (views.place.amax(1) > 0).sum() >= 2
        assert len(views.healthy) == int((views.place.amax(1) == 0).sum())


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ({}, 8, {"cutpaste": 2, "gaussian_intensity": 2, "source_deformation": 2, "identity": 2}),
        ({}, 4, {"cutpaste": 1, "gaussian_intensity": 1, "source_deformation": 1, "identity": 1}),
        (
            {"cutpaste": 3.0, "gaussian_intensity": 0.0, "source_deformation": 0.0, "identity": 1.0},
            8,
            {"cutpaste": 6, "identity": 2},
        ),
        # 2.5, 1.25, 1.25, 0: the largest remainder is rounded up.
        (
            {"cutpaste": 0.5, "gaussian_intensity": 0.25, "source_deformation": 0.25, "identity": 0},
            5,
            {"cutpaste": 3, "gaussian_intensity": 1, "source_deformation": 1},
        ),
    ],
)
def test_shares_are_counts_of_views(bench, drawn, shares, count, expected):
    views = views_of(bench, bench.shot(0), tasks=shares, training={"views": count})
    assert Counter(drawn) == Counter(expected)
    assert len(views.patches) == count


def test_a_place_is_the_masks_share_of_each_patch(bench, monkeypatch):
    def quarter(image, body, shares, generator):
        mask = np.zeros_like(image)
        mask[8:16, 16:20] = 1
        mask[16:24, :8] = 0.5
        return TaskExample(image, mask, "cutpaste")

    monkeypatch.setattr(shots_file, "draw_task", quarter)
    views = views_of(bench, bench.shot(0), training={"views": 1})
    expected = torch.zeros(4, 4)
    expected[1, 2], expected[2, 0] = 0.5, 0.5
    assert torch.equal(views.place, expected.flatten()[None])
    assert views.features.grid == (4, 4)


def test_identity_without_augmentation_is_the_shot_itself(bench):
    shot = bench.shot(0)
    only = {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 1}
    loud = AugmentationSettings(mirror_left_right=True, rotation_degrees=90, intensity_jitter=0.5)
    views = views_of(bench, shot, tasks=only, augmentation=loud, training={"views": 2})
    still = make_views(
        shot, bench.encoder, bench.make(tasks=only, augmentation=False, training={"views": 2}).few_shot, loud, 0
    )
    for one in still.patches:
        for level, own in zip(one.levels, shot.patches[0].levels, strict=True):
            torch.testing.assert_close(level, own)
    assert not torch.allclose(views.patches[0].levels[0], shot.patches[0].levels[0], atol=1e-3)


def test_a_chest_is_never_mirrored(bench, seen_images):
    framed = bench.shot(0).framed[0]
    ramp = np.linspace(0.1, 0.9, 32, dtype=np.float32) * np.ones((32, 1), dtype=np.float32)
    shot = replace(bench.shot(0), framed=(FramedSlice(framed.frame, ramp, framed.body),))
    chest = load_config("chest_xray")
    settings = bench.make(
        tasks={"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 1}, training={"views": 40}
    ).few_shot
    make_views(shot, bench.encoder, settings, chest.augmentation, 0)
    assert len(seen_images) == 40
    assert all(np.corrcoef(one.image.mean(0), ramp[0])[0, 1] > 0.9 for one in seen_images)
    seen_images.clear()
    make_views(shot, bench.encoder, settings, AugmentationSettings(mirror_left_right=True), 0)
    mirrored = sum(np.corrcoef(one.image.mean(0), ramp[0])[0, 1] < -0.9 for one in seen_images)
    assert 8 <= mirrored <= 32


def test_seed_settings_and_slice_decide_and_nothing_else(bench):
    shot, other = bench.shot(0), bench.shot(1)
    views = views_of(bench, shot)
    views_of(bench, other)
    np.random.default_rng(0)
    torch.manual_seed(3)
    assert same(views, views_of(bench, shot))
    assert not same(views, views_of(bench, shot, seed=1))
    assert not same(views, views_of(bench, shot, augmentation=AugmentationSettings(intensity_jitter=0.3)))
    assert not same(views, views_of(bench, other))


def test_a_store_has_them_the_second_time_and_changes_nothing(bench, seen_images):
    shot, store = bench.shot(0), FeatureStore()
    first = views_of(bench, shot, store=store)
    count = len(seen_images)
    assert count == 4
    again = views_of(bench, shot, store=store)
    assert len(seen_images) == count
    assert same(first, again)
    assert same(first, views_of(bench, shot))
    for change in ({"seed": 1}, {"augmentation": AugmentationSettings(intensity_jitter=0.3)}):
        before = len(seen_images)
        assert same(views_of(bench, shot, store=store, **change), views_of(bench, shot, **change))
        assert len(seen_images) == before + 8
    other = {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 1}
    assert not views_of(bench, shot, store=store, tasks=other).place.any()


def test_another_encoder_never_gets_stored_features(bench):
    shot, store = bench.shot(0), FeatureStore()
    views_of(bench, shot, store=store)
    twice = Doubled(bench.encoder)
    views = make_views(shot, twice, bench.make().few_shot, STILL, 0, store)
    plain = views_of(bench, shot)
    torch.testing.assert_close(views.patches[0].levels[0], 2 * plain.patches[0].levels[0])
    # The same views all the same, whoever looks at them.
    assert torch.equal(views.place, plain.place)


class Doubled:
    """An encoder of other weights: all features twice as large."""

    def __init__(self, encoder):
        self._encoder, self.side = encoder, encoder.side
        self.text_level, self.level_weights = encoder.text_level, encoder.level_weights
        self.identity = encoder.identity.model_copy(update={"weights_sha256": "5" * 64})

    def patch_features(self, images):
        return tuple(2 * level for level in self._encoder.patch_features(images))


def test_the_views_of_a_volume_are_spread_over_its_slices(bench, seen_images):
    first, second, third = (bench.shot(number) for number in range(3))
    volume = Shot(first.framed + second.framed + third.framed, first.patches + second.patches + third.patches)
    views = make_views(volume, bench.encoder, bench.make(augmentation=False, training={"views": 6}).few_shot, STILL, 0)
    assert len(views.patches) == 6
    for number, one in enumerate(seen_images):
        difference = np.abs(one.image - volume.framed[number // 2].image)
        assert np.mean(difference > 1e-6) < 0.6
    fewer = make_views(volume, bench.encoder, bench.make(training={"views": 1}).few_shot, STILL, 0)
    assert len(fewer.patches) == 3


def test_no_share_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one share"):
        TaskShares(cutpaste=0, gaussian_intensity=0, source_deformation=0, identity=0)
