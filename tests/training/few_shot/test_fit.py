"""All parts from some shots: who is judged by whom, what scales and thresholds come from, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.errors import Cancelled, ConfigError, ModelError
from anomalabel.localization.conformal import ConformalThreshold, PixelThreshold
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.training.episodes import EpisodicTraining, parameters_of
from anomalabel.training.few_shot.fit_head import TextSource, fit_head
from anomalabel.training.learned_start import LearnedStart, save_start

IDENTITY = {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 1}


@pytest.fixture(scope="module")
def fit(bench):
    """Five shots, two heads, everything else by default."""
    return bench.fit(seeds=(0, 1, 2, 3, 4))


def head_states(fit):
    return [one.head.state_dict() for one in fit.model.heads]


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_each_head_is_judged_on_the_shots_that_it_did_not_learn_from(bench, fit):
    config = bench.make()
    shape = fit.model.heads[0].head.shape
    material = [one.material for one in fit.held_out]
    for fold, numbers in ((0, (1, 3)), (1, (0, 2, 4))):
        alone = fit_head([material[number] for number in numbers], shape, bench.source, config.few_shot, fold, skip)
        assert equal(alone.head.state_dict(), head_states(fit)[fold])
    for number, held in enumerate(fit.held_out):
        assert len(held.judge.heads) == 1
        assert equal(held.judge.heads[0].head.state_dict(), head_states(fit)[number % 2])


def skip(epoch, losses):
    """Nobody listens."""


def test_the_bank_that_judges_a_shot_lacks_it_and_its_views(bench, fit):
    config = bench.make()
    settings = config.normal_bank.model_copy(update={"maximum_patches": config.few_shot.bank_patches})
    for number, held in enumerate(fit.held_out):
        others = [one.material for place, one in enumerate(fit.held_out) if place != number]
        healthy = [patches for one in others for patches in (*one.shot.patches, *one.views.healthy)]
        alone = NormalBank(healthy, settings, 0, bench.encoder.level_weights)
        assert len(held.judge.bank) == len(alone)
        np.testing.assert_array_equal(
            held.judge.bank.distances(held.material.shot.patches), alone.distances(held.material.shot.patches)
        )
        assert np.nanmin(held.judge.raw_maps(held.material.shot.patches)["bank"]) > 0.01
        assert np.nanmax(fit.model.raw_maps(held.material.shot.patches)["bank"]) < 1e-5


def test_changing_one_shot_changes_its_own_judge_in_nothing(bench, fit):
    """Judges of the other shots change, since they learn from it."""
    changed = bench.fit(seeds=(0, 1, 7, 3, 4))
    same = fit.held_out[2].judge, changed.held_out[2].judge
    assert torch.equal(same[0].bank.tensors()["patches"], same[1].bank.tensors()["patches"])
    assert equal(same[0].heads[0].head.state_dict(), same[1].heads[0].head.state_dict())
    probe = bench.shot(9).patches
    for kind in ("bank", "text"):
        np.testing.assert_array_equal(same[0].raw_maps(probe)[kind], same[1].raw_maps(probe)[kind])
    for number in (0, 1, 3, 4):
        before, after = fit.held_out[number].judge, changed.held_out[number].judge
        assert not torch.equal(before.bank.tensors()["patches"], after.bank.tensors()["patches"])
    # Heads learn without the even shots or without the odd ones; the changed one is even.
    assert equal(head_states(fit)[0], head_states(changed)[0])
    assert not equal(head_states(fit)[1], head_states(changed)[1])


def test_a_shot_given_twice_is_known_to_its_judge(bench):
    """Leaving out the same image twice is the caller's part: here a copy judges its copy, at distance 0."""
    twice = bench.fit(seeds=(0, 1, 2, 0))
    near = [float(np.nanmax(one.judge.raw_maps(one.material.shot.patches)["bank"])) for one in twice.held_out]
    assert near[0] < 1e-5
    assert near[3] < 1e-5
    assert min(near[1], near[2]) > 0.01


def test_scales_are_those_of_held_out_maps_each_image_counting_the_same(fit):
    for kind in ("bank", "text"):
        images = [one.judge.raw_maps(one.material.shot.patches)[kind].astype(np.float64) for one in fit.held_out]
        scale = fit.model.scales[kind]
        assert scale.mean == pytest.approx(np.mean(images), rel=1e-5)
        assert scale.deviation == pytest.approx(np.std(images), rel=1e-5)
    for fold in (0, 1):
        heads = [one.judge.raw_maps(one.material.shot.patches)["head"] for one in fit.held_out[fold::2]]
        assert np.mean(heads) == pytest.approx(0, abs=1e-4)
        assert np.std(heads) == pytest.approx(1, abs=1e-4)
        assert fit.model.heads[fold].scale == fit.held_out[fold].judge.heads[0].scale


def test_thresholds_come_from_the_held_out_maps(bench, fit):
    settings = bench.make().few_shot
    scores = [one.judge.image_score(one.maps) for one in fit.held_out]
    assert fit.calibration.scores == tuple(scores)
    image = ConformalThreshold.of(scores, settings.false_positive_rate, "refitted")
    pixel = PixelThreshold.of([one.maps for one in fit.held_out], settings.pixel_quantile)
    assert (fit.calibration.image.value, fit.calibration.image.rule) == (image.value, image.rule)
    assert (fit.calibration.pixel.value, fit.calibration.pixel.rule) == (pixel.value, pixel.rule)
    assert min(scores) < image.value < max(scores)
    for held in fit.held_out:
        np.testing.assert_allclose(held.maps, held.judge.anomaly_maps(held.material.shot.patches), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"false_positive_rate": 0.6}, "image"), ({"pixel_quantile": 0.5}, "pixel")],
)
def test_the_wanted_rates_move_the_thresholds(bench, fit, settings, name):
    moved = bench.fit(bench.make(**settings), seeds=(0, 1, 2, 3, 4))
    assert getattr(moved.calibration, name).value < getattr(fit.calibration, name).value
    other = "pixel" if name == "image" else "image"
    assert getattr(moved.calibration, other).value == getattr(fit.calibration, other).value


def test_a_planted_patch_lies_above_the_threshold(bench):
    fit = bench.fit(bench.make(text=False, alignment=False), seeds=(0, 1, 2, 3, 4))
    maps = fit.model.anomaly_maps(bench.shot(11, planted=True).patches)
    assert maps[0, 2, 1] > fit.calibration.pixel.value
    healthy = fit.model.anomaly_maps(bench.shot(11).patches)
    assert fit.model.image_score(maps) > fit.calibration.image.value > fit.model.image_score(healthy)


def test_seeds(bench):
    first, again, other = (bench.fit(seed=seed) for seed in (4, 4, 5))
    probe = bench.shot(9).patches
    np.testing.assert_array_equal(first.model.anomaly_maps(probe), again.model.anomaly_maps(probe))
    assert first.calibration == again.calibration
    assert not np.array_equal(first.model.anomaly_maps(probe), other.model.anomaly_maps(probe))


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ({"bank": False}, {"text", "head"}),
        ({"text": False}, {"bank", "head"}),
        ({"alignment": False}, {"bank", "text"}),
        ({"bank": False, "text": False}, {"head"}),
        ({"alignment": False, "text": False}, {"bank"}),
        ({"alignment": False, "prompts": {"enabled": True}}, {"bank", "text", "head"}),
    ],
)
def test_a_switch_takes_its_map_away_and_leaves_the_others_alone(bench, fit, parts, kinds):
    fewer = bench.fit(bench.make(**parts), seeds=(0, 1, 2, 3, 4))
    probe = bench.shot(9).patches
    raw, full = fewer.model.raw_maps(probe), fit.model.raw_maps(probe)
    assert set(raw) == kinds == set(fewer.model.weights)
    for kind in kinds - ({"head"} if "prompts" in parts else set()):
        np.testing.assert_array_equal(raw[kind], full[kind])


def test_augmentation_gives_the_bank_identity_views_and_no_others(bench):
    kinds = {"text": False, "alignment": False, "training": {"views": 8}}
    on, off, only = (
        bench.fit(bench.make(**kinds, **more)) for more in ({}, {"augmentation": False}, {"tasks": IDENTITY})
    )
    identity = sum(len(one.material.views.healthy) for one in on.held_out)
    assert identity >= 2 * 4
    assert len(on.model.bank) == 16 * (4 + identity)
    assert len(off.model.bank) == 16 * 4
    assert len(only.model.bank) == 16 * 4 * 9


def test_a_large_bank_is_a_sample(bench):
    sampled = bench.fit(bench.make(bank_patches=20, text=False, alignment=False))
    assert len(sampled.model.bank) == 20
    assert all(len(one.judge.bank) == 20 for one in sampled.held_out)


@pytest.mark.parametrize(("heads", "shots", "expected"), [(2, 2, 2), (3, 5, 3), (8, 3, 3)])
def test_there_are_as_many_heads_as_asked_for_but_no_more_than_shots(bench, heads, shots, expected):
    several = bench.fit(bench.make(heads=heads), seeds=tuple(range(shots)))
    assert len(several.model.heads) == expected
    phases = list(dict.fromkeys(phase for phase, _, _ in several.history))
    assert phases == [f"head {number + 1} of {expected}" for number in range(expected)]
    assert len(several.history) == 3 * expected


def test_texts_that_the_tower_does_not_know_are_left_out_and_said(bench):
    source = bench.source
    foreign = TextSource(
        source.model, source.prompts.model_copy(update={"positive": ("glioma of the spleen",), "negative": ("brain",)})
    )
    told = bench.fit(source=foreign)
    assert told.warnings == ("The text part is left out: the model tiny never saw the words of, spleen, the.",)
    assert told.model.texts is None
    assert set(told.model.weights) == {"bank", "head"}
    assert bench.fit().warnings == ()


def test_single_texts_with_unknown_words_are_left_out_and_the_others_stay(bench):
    source = bench.source
    positive = (*source.prompts.positive, "cyst of the spleen")
    told = bench.fit(source=TextSource(source.model, source.prompts.model_copy(update={"positive": positive})))
    assert told.warnings == ("Texts with words that the model never saw are left out: cyst, of, spleen, the.",)
    assert torch.equal(told.model.texts.diseased, source.plain().diseased)
    # One of four is less than a third.
    positive = ("brain lesion", "cyst", "spleen", "kidney")
    silent = bench.fit(source=TextSource(source.model, source.prompts.model_copy(update={"positive": positive})))
    assert silent.model.texts is None


def test_nothing_left_to_score_with_is_said(bench):
    source = bench.source
    foreign = TextSource(source.model, source.prompts.model_copy(update={"positive": ("spleen",)}))
    with pytest.raises(ConfigError, match=r"never saw the words spleen.*few_shot.bank"):
        bench.fit(bench.make(bank=False, alignment=False), source=foreign)


def test_a_text_tower_of_unknown_vocabulary_is_used(bench):
    source = bench.source
    assert isinstance(source.model, OpenClipModel)
    free = TextSource(Unwritten(source.model), source.prompts.model_copy(update={"positive": ("spleen",)}))
    assert bench.fit(source=free).model.texts is not None


class Unwritten:
    """A model of which nobody wrote down the words."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def unknown_words(self, texts):
        return ()


class Wordless:
    """The bench's encoder without a level in the texts' space."""

    text_level = None

    def __init__(self, encoder):
        self._encoder, self.side, self.identity = encoder, encoder.side, encoder.identity
        self.level_weights = encoder.level_weights

    def patch_features(self, images):
        return self._encoder.patch_features(images)


def test_an_encoder_without_words(bench):
    encoder = Wordless(bench.encoder)
    with pytest.raises(ConfigError, match=r"No level of this encoder lives in the texts' space.*few_shot.text off"):
        bench.fit(encoder=encoder)
    with pytest.raises(ConfigError, match=r"the adapters are off"):
        bench.fit(bench.make(text=False, alignment=False, prompts={"enabled": True}), encoder=encoder)
    bank = bench.fit(bench.make(text=False, alignment=False), encoder=encoder, source=None)
    assert set(bank.model.weights) == {"bank"}
    adapted = bench.fit(bench.make(text=False), encoder=encoder)
    assert set(adapted.model.weights) == {"bank", "head"}
    assert adapted.model.text_level is None


def test_one_shot_is_too_few(bench):
    with pytest.raises(ConfigError, match="at least 2 healthy images, 1 came"):
        bench.fit(seeds=(0,))


def test_images_that_are_all_the_same_have_no_spread(bench):
    with pytest.raises(ModelError, match="bank map is the same"):
        bench.fit(bench.make(augmentation=False, text=False, alignment=False), seeds=(0, 0, 0))


@pytest.mark.parametrize(
    "stage", ["encoding views", "learning head 1 of 2", "learning head 2 of 2", "judging held-out images"]
)
def test_watch_hears_of_every_stage_and_can_stop_it(bench, stage):
    def watch(told, done, total):
        assert 0 <= done <= total
        if told == stage and done >= 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        bench.fit(watch=watch)


def test_a_volume_is_one_shot_with_several_slices(bench):
    from anomalabel.training.few_shot.fit import fit_few_shot

    volumes = [
        replace(
            bench.shot(first),
            framed=bench.shot(first).framed + bench.shot(first + 1).framed,
            patches=bench.shot(first).patches + bench.shot(first + 1).patches,
        )
        for first in (0, 2, 4)
    ]
    fit = fit_few_shot(volumes, bench.encoder, bench.source, bench.make(), 0, lambda stage, done, total: None)
    assert [held.maps.shape for held in fit.held_out] == [(2, 4, 4)] * 3
    assert len(fit.calibration.scores) == 3
    held = fit.held_out[0]
    assert fit.calibration.scores[0] == max(held.judge.image_score(one[None]) for one in held.maps)


def start_file(bench, path, encoder_sha256=None, settings=None):
    """A start for the bench's encoder and config, of weights that no training gives."""
    config = bench.make() if settings is None else bench.make(**settings)
    channels = tuple(level.shape[0] for level in bench.shot(0).patches[0].levels)
    shape = HeadShape.of(channels, bench.encoder.text_level, 16, config.few_shot)
    module = FewShotHead(shape, torch.Generator().manual_seed(9))
    sha = encoder_sha256 or bench.encoder.identity.weights_sha256
    save_start(path, LearnedStart(parameters_of(module), sha, repr(shape), EpisodicTraining(inner_rate=1e-6)))
    return module


def test_a_start_from_episodes_is_where_heads_begin(bench, tmp_path):
    module = start_file(bench, tmp_path / "start.safetensors")
    began = bench.fit(bench.make(episodes={"path": str(tmp_path / "start.safetensors"), "steps": 1}))
    for one in began.model.heads:
        for name, value in module.named_parameters():
            torch.testing.assert_close(one.head.state_dict()[name], value.detach(), atol=1e-3, rtol=1e-3)
    assert began.history == ()


def test_a_start_of_another_encoder_or_head_is_refused(bench, tmp_path):
    path = tmp_path / "start.safetensors"
    start_file(bench, path, "9" * 64)
    with pytest.raises(ModelError, match="learned on another encoder"):
        bench.fit(bench.make(episodes={"path": str(path)}))
    start_file(bench, path, settings={"refinement": {"enabled": True}})
    with pytest.raises(ModelError, match="another head"):
        bench.fit(bench.make(episodes={"path": str(path)}))
    with pytest.raises(ModelError, match="There is no learned start"):
        bench.fit(bench.make(episodes={"path": str(tmp_path / "none")}))
