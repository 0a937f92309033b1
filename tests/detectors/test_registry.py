"""Every method is built from one table."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from anomalabel.backbones import load_self_attention
from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.config import (
    AttentionSettings,
    ForegroundSettings,
    Method,
    PreprocessingSettings,
    ReconstructionSettings,
    load_config,
)
from anomalabel.detectors.base import (
    CalibratedDetector,
    DescribedDetector,
    PreparedImage,
    ShowingDetector,
    no_progress,
)
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.registry import BUILDERS, build_detector, texts_of
from anomalabel.detectors.showing import SHOWN_BY
from anomalabel.errors import ConfigError, ModelError
from anomalabel.finding import PromptTexts
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

PROMPTS = PromptTexts(positive=("tumor",), negative=("normal brain",))
BRIEF = ReconstructionSettings.model_validate(
    {
        "side": 64,
        "channels": (4,) * 6,
        "mosaic": {"blocks": (16,)},
        "training": {"epochs": 1, "samples": 8, "batch_size": 4},
    }
)
"""A training of seconds."""


def image(seed: int) -> PreparedImage:
    scaled = np.random.default_rng(seed).random((1, 32, 32), dtype=np.float32)
    prepared = PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool))
    return PreparedImage(prepared, np.eye(4), (SlicePosition(0, 0, "image"),), f"image {seed}")


@pytest.fixture
def context(tiny_clip) -> BuildContext:
    preprocessing = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
    changed = {"preprocessing": preprocessing, "reconstruction": BRIEF, "attention": AttentionSettings(steps=2)}
    config = load_config("brain_mri").model_copy(update=changed)
    return BuildContext(config, PROMPTS, GivenEncoders(tiny_clip), tuple(image(seed) for seed in range(3)), seed=5)


def test_the_table_holds_every_method():
    assert set(BUILDERS) == set(get_args(Method))


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_answers_on_the_images_grid(context, method, monkeypatch):
    monkeypatch.setattr(load_self_attention, "find_timm_weights", lambda network: None)
    if method.startswith("reconstruction"):
        context = replace(context, healthy=tuple(image(seed) for seed in range(8)))
    detector = build_detector(method, context)
    test = image(9)
    detection = detector.detect(test.prepared, test.affine_ras, test.positions, no_progress)
    assert detection.anomaly_map.shape == (1, 32, 32)
    assert np.isfinite(detection.anomaly_map).all()
    assert float(np.ptp(detection.anomaly_map)) > 0
    assert np.isfinite(detection.image_score)
    assert (detection.prompt_specificity is not None) == (method in {"clap", "plp"})
    assert (detection.pixel_threshold is not None) == isinstance(detector, CalibratedDetector)
    assert isinstance(detector, CalibratedDetector) == BUILDERS[method].calibrates
    names = {"intensity": "none", "few_shot": "few_shot on tiny"} | dict.fromkeys(SHOWN_BY, "U-Net")
    assert detector.identity.name == names.get(method, "tiny")
    shown = detector.shows if isinstance(detector, ShowingDetector) else frozenset()
    assert shown == SHOWN_BY.get(method, frozenset())
    assert isinstance(detector, DescribedDetector) == method.startswith("reconstruction")


@pytest.mark.parametrize("method", get_args(Method))
def test_methods_that_use_texts_get_some(method):
    config = load_config("brain_mri")
    assert bool(texts_of(method, config).positive) is BUILDERS[method].uses_prompts
    silent = config.model_copy(update={"reconstruction": ReconstructionSettings(saliency="ear")})
    assert bool(texts_of("reconstruction", silent).positive) is False


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("reconstruction", ["attention of tiny for 'tumor'", "attention of tiny for 'normal brain'"]),
        ("reconstruction_none", []),
        ("reconstruction_ear", ["mean self-attention of tiny"]),
        ("reconstruction_plp", ["attention of tiny for 'tumor'"]),
        ("reconstruction_clap", ["attention of tiny for 'tumor'", "attention of tiny for 'normal brain'"]),
    ],
)
def test_the_networks_of_a_saliency_are_told_before_anything_is_learned(context, method, names, monkeypatch):
    monkeypatch.setattr(load_self_attention, "find_timm_weights", lambda network: None)
    told = BUILDERS[method].networks(replace(context, healthy=()))
    assert [identity.name for identity in told] == names
    assert len({identity.weights_sha256 for identity in told}) == len(names)


def test_clap_and_plp_differ_as_methods(context):
    test = image(9)
    clap, plp = (
        build_detector(method, context).detect(test.prepared, test.affine_ras, test.positions, no_progress)
        for method in ("clap", "plp")
    )
    assert np.nanmin(plp.anomaly_map) >= 0 > np.nanmin(clap.anomaly_map)


def test_leaving_one_out(context):
    without = context.without(1)
    assert [shot.source for shot in without.healthy] == ["image 0", "image 2"]
    assert (without.config, without.seed, without.encoders) == (context.config, 5, context.encoders)
    shot = context.healthy[1]
    scores = [
        build_detector("normal_bank", each)
        .detect(shot.prepared, shot.affine_ras, shot.positions, no_progress)
        .image_score
        for each in (context, without)
    ]
    assert scores[0] == pytest.approx(0, abs=1e-3)
    assert scores[1] > 10 * max(scores[0], 1e-3)


@pytest.mark.parametrize("method", [name for name, builder in BUILDERS.items() if builder.needs_healthy])
def test_a_method_that_learns_needs_healthy_images(context, method):
    with pytest.raises(ConfigError, match=rf"{method} learns from healthy images.*--healthy"):
        build_detector(method, context.without(0).without(0).without(0))


def test_encoders_are_asked_only_by_methods_that_use_them(context):
    empty = BuildContext(context.config, PROMPTS, GivenEncoders())
    build_detector("intensity", empty)
    with pytest.raises(ModelError, match="reads no text"):
        build_detector("clap", empty)
