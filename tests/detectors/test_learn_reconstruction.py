"""Reconstruction learned from healthy pictures here and now: what it asks for, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.backbones import load_self_attention
from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.patch_encoders import patch_encoder_of
from anomalabel.config import AnatomyConfig, AttentionSettings, ReconstructionSettings
from anomalabel.detectors.base import PreparedImage, no_progress
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.learn_reconstruction import (
    learn_reconstruction,
    learned_with,
    networks_of,
    reads_texts,
    with_saliency,
)
from anomalabel.errors import Cancelled, ConfigError, ModelError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.training.reconstruction.state import CheckpointPlace

PROMPTS = PromptTexts(positive=("glioma",), negative=("healthy brain",))
HEALTHY = 9


class BlockMeans:
    """An encoder without texts whose one level has two features of 4 x 4 pixels of a 32-pixel square."""

    side = 32
    level_weights = (1.0,)
    text_level = None
    identity = ModelIdentity(name="block means", weights_sha256="3" * 64)

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.nn.functional.avg_pool2d(torch.stack([images, images**2], dim=1), 4),)


class Counting(Sequence[PreparedImage]):
    """Pictures that are made when they are asked for; notes which were."""

    def __init__(self, make: Callable[[int], PreparedImage], count: int) -> None:
        self.make, self.count, self.asked = make, count, []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> PreparedImage:
        self.asked.append(number)
        return replace(self.make(number), source=f"/somewhere/{number}.png")


def silent(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def config(few_shot_config) -> AnatomyConfig:
    settings = ReconstructionSettings.model_validate(
        {
            "side": 64,
            "channels": (4,) * 6,
            "mosaic": {"blocks": (16,)},
            "errors": {"features": 1.0, "cell": 8},
            "healthy_level": True,
            "training": {"epochs": 2, "samples": 8, "batch_size": 4},
        }
    )
    changed = {"reconstruction": settings, "attention": AttentionSettings(layer=5, steps=2)}
    return few_shot_config().model_copy(update=changed)


@pytest.fixture
def context(config, tiny_clip, tissue, monkeypatch) -> BuildContext:
    """Nine pictures; no network of timm can be had."""
    monkeypatch.setattr(load_self_attention, "find_timm_weights", lambda network: None)
    return BuildContext(config, PROMPTS, GivenEncoders(tiny_clip), Counting(tissue, HEALTHY), 3)


def test_a_models_parts(context, config, tmp_path):
    heard: list[str] = []
    found = learn_reconstruction(context, lambda stage, done, total: heard.append(stage), tmp_path, "told")
    assert tuple(dict.fromkeys(heard)) == ("looking where to hide", "training", "judging held-out images")
    learned = found.learned
    assert set(learned.model.levels) == set(learned.held_out_errors) == {"msgms", "features"}
    assert len(learned.calibration.scores) == 4
    assert found.config == config
    assert found.saliency.name == "CLAP: attention of tiny for disease minus for health texts"
    assert any("Learned from 9 healthy images" in warning for warning in learned.warnings)
    assert context.healthy.asked == list(range(HEALTHY))
    # What decides what is learned also holds whose saliency it is.
    whose = [source.identity.model_dump_json() for source in found.saliency.encoders]
    kept = CheckpointPlace(tmp_path, "\n".join(["told", *whose])).read()
    assert kept is not None
    assert kept.step == 2


def test_images_are_told_apart_by_their_files_names_whole_images_by_whole_images(context, monkeypatch):
    from anomalabel.detectors import learn_reconstruction as learning

    seen = []
    original = learning.learn_model

    def look(material, *rest):
        seen.append(material)
        return original(material, *rest)

    monkeypatch.setattr(learning, "learn_model", look)
    learn_reconstruction(context, silent)
    (material,) = seen
    assert material.learnt.names == tuple(f"{number}.png" for number in range(5))
    assert material.held_out.names == tuple(f"{number}.png" for number in range(5, 9))
    assert material.learnt.hidden.any()


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_images_are_refused_before_one_is_read(context, tissue, count):
    few = replace(context, healthy=Counting(tissue, count), encoders=GivenEncoders())
    with pytest.raises(ConfigError, match=f"needs 8 healthy images, {count} came"):
        learn_reconstruction(few, silent)
    assert few.healthy.asked == []


def test_without_saliency_and_features_no_encoder_is_asked(context):
    settings = context.config.reconstruction.model_copy(
        update={"errors": context.config.reconstruction.errors.model_copy(update={"features": 0.0})}
    )
    bare = context.config.model_copy(update={"reconstruction": settings})
    detector = learned_with("none")(replace(context, config=bare, encoders=GivenEncoders()))
    assert detector.shows == {"reconstruction"}
    assert detector.description == "Saliency: none: nothing is hidden."


def test_without_saliency_an_encoder_without_texts_will_do(context):
    patches = replace(context, encoders=GivenEncoders(None, BlockMeans()))
    assert learned_with("none")(patches).identity.name == "U-Net"
    for kind in ("clap", "plp", "ear"):
        with pytest.raises(ModelError, match="reads no text"):
            learned_with(kind)(patches)


def test_the_network_whose_self_attention_was_really_taken_is_kept(context):
    ear = replace(context, config=with_saliency(context.config, "ear"))
    found = learn_reconstruction(ear, silent)
    assert ear.config.reconstruction.self_attention == "timm:vit_small_patch16_224.dino"
    assert found.config.reconstruction.self_attention == "tiny"
    assert found.config.reconstruction.saliency == "ear"
    assert "no weights of vit_small_patch16_224.dino at hand" in found.saliency.name


def test_a_planted_lesion_scores_higher_than_what_is_healthy(context, tissue):
    settings = context.config.reconstruction
    longer = settings.model_copy(update={"training": settings.training.model_copy(update={"epochs": 8, "samples": 64})})
    trained = replace(context, config=context.config.model_copy(update={"reconstruction": longer}))
    detector = learned_with("plp")(trained)
    scores = []
    for planted in (False, True):
        image = tissue(50, planted)
        found = detector.detect(image.prepared, image.affine_ras, image.positions, no_progress)
        scores.append(found.image_score)
    assert scores[0] < detector.image_threshold.value < scores[1]
    # The lower left quarter.
    row, column = np.argwhere(found.anomaly_map[0] == np.nanmax(found.anomaly_map))[0]
    assert (row >= 14, column <= 17) == (True, True)
    assert np.nanmean(found.anomaly_map[0, 16:, :16]) > 3 * np.nanmean(np.abs(found.anomaly_map[0, :16, 16:]))


def test_the_same_seed_and_images_give_the_same_model_with_a_store_or_without(context):
    store = FeatureStore()
    first, again, other = (
        learned_with(None)(chosen).identity.weights_sha256
        for chosen in (context, replace(context, features=store), replace(context, seed=4))
    )
    assert first == again != other


def test_warnings_reach_the_detections(context, tissue):
    image = tissue(50)
    detector = learned_with("none")(context)
    found = detector.detect(image.prepared, image.affine_ras, image.positions, no_progress)
    assert any("Learned from 9 healthy images" in warning for warning in found.warnings)
    assert found.image_threshold == detector.image_threshold


def test_a_learning_detector_may_be_stopped(context):
    def cancel(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        learned_with(None)(replace(context, watch=cancel))


@pytest.mark.parametrize(("kind", "told"), [("none", False), ("ear", False), ("plp", True), ("clap", True)])
def test_words_that_the_model_never_saw_are_said_where_they_decide_anything(context, kind, told):
    prompts = PromptTexts(positive=("glioma", "snarkitis"), negative=("healthy brain",))
    chosen = replace(context, config=with_saliency(context.config, kind), prompts=prompts)
    warnings = learn_reconstruction(chosen, silent).learned.warnings
    (said,) = [warning for warning in warnings if "never saw" in warning] or [""]
    assert ("The model tiny never saw these words, which decide what is hidden: snarkitis." in said) is told


@pytest.mark.parametrize(
    ("kind", "texts"), [("none", False), ("ear", False), ("plp", True), ("clap", True), (None, True)]
)
def test_which_saliencies_read_texts(config, kind, texts):
    chosen = with_saliency(config, kind)
    assert reads_texts(chosen) is texts
    assert chosen.reconstruction.saliency == (kind or "clap")
    assert with_saliency(chosen, "none").model_copy(update={"reconstruction": config.reconstruction}) == config


def test_networks_differ_by_saliency_text_and_seed(context):
    def told(kind: str, **changes: object) -> tuple[ModelIdentity, ...]:
        return networks_of(kind)(replace(context, **changes))

    assert told("none") == ()
    assert told("ear") == (
        learn_reconstruction(replace(context, config=with_saliency(context.config, "ear")), silent)
        .saliency.encoders[0]
        .identity,
    )
    assert told("clap")[:1] == told("plp")
    assert told("plp") != told("plp", seed=4)
    assert told("plp") != told("plp", prompts=PromptTexts(positive=("tumor",), negative=()))
    assert told("ear") == told("ear", seed=4)


def test_an_encoder_that_both_compares_and_attends_is_one(context, tiny_clip):
    encoder = patch_encoder_of(tiny_clip)
    given = replace(context, encoders=GivenEncoders(tiny_clip, encoder))
    assert learned_with("clap")(given).identity == learned_with("clap")(context).identity
