"""Attention for texts as patch features: its values, what it depends on, and what its hash tells apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.attention import text_saliency
from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.attention.text_saliency import TextSaliency
from anomalabel.backbones.loading import load_model
from anomalabel.config import AttentionSettings, Bottleneck, ForegroundSettings, PreprocessingSettings
from anomalabel.errors import ModelError, PromptError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.patch_features import FeatureStore, extract_patches
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

ATTENTION = AttentionSettings(layer=5, beta=0.5, batch_size=2)
TEXTS = ("glioma", "tumor of the brain")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_level_is_the_attention_for_the_mean_vector(tiny_clip, images):
    saliency = TextSaliency(tiny_clip, TEXTS, ATTENTION, seed=4)
    (level,) = saliency.patch_features(images[:2])
    vector = torch.nn.functional.normalize(tiny_clip.encode_texts(TEXTS).mean(0), dim=-1)[None]
    expected = attention_maps(tiny_clip, images[:2], vector, ATTENTION, draw_noise(ATTENTION, 17, 32, 4))
    assert (level.shape, level.dtype) == ((2, 1, 4, 4), torch.float32)
    torch.testing.assert_close(level[:, 0], expected[0], atol=1e-5, rtol=1e-5)
    assert (saliency.side, saliency.level_weights, saliency.text_level) == (32, (1.0,), None)


def test_a_slices_map_does_not_depend_on_those_beside_it(tiny_clip, images):
    saliency = TextSaliency(tiny_clip, TEXTS, ATTENTION.model_copy(update={"batch_size": 3}), seed=0)
    (together,) = saliency.patch_features(images)
    for number in range(5):
        (alone,) = saliency.patch_features(images[number : number + 1])
        torch.testing.assert_close(together[number], alone[0], atol=1e-3, rtol=1e-4)
    (turned,) = saliency.patch_features(images.flip(0))
    torch.testing.assert_close(turned.flip(0), together, atol=1e-3, rtol=1e-4)
    assert float((together[0] - together[1]).abs().max()) > 0.1


def test_no_more_slices_than_the_settings_say_are_optimised_together(tiny_clip, images, monkeypatch):
    together = []
    tokens_after = tiny_clip.tower.tokens_after

    def watched(pixels: torch.Tensor, layer: int) -> torch.Tensor:
        together.append(len(pixels))
        return tokens_after(pixels, layer)

    monkeypatch.setattr(tiny_clip.tower, "tokens_after", watched)
    (level,) = TextSaliency(tiny_clip, TEXTS, ATTENTION, seed=0).patch_features(images)
    assert together == [2, 2, 1]
    assert len(level) == 5


def test_the_hash_tells_apart_what_gives_other_maps(tiny_clip, tiny_clip_folder, monkeypatch):
    def digest(model=tiny_clip, texts=TEXTS, seed=0, **constants) -> str:
        return TextSaliency(model, texts, ATTENTION.model_copy(update=constants), seed).identity.weights_sha256

    other = load_model(str(tiny_clip_folder), "cpu", "float32")
    other.identity = ModelIdentity(name="tiny", weights_sha256="f" * 64)
    changed = [
        digest(model=other),
        digest(texts=TEXTS[::-1]),
        digest(texts=TEXTS[:1]),
        digest(seed=1),
        *(digest(**change) for change in ({"layer": 4}, {"beta": 0.6}, {"steps": 9}, {"samples": 4})),
        *(digest(**change) for change in ({"learning_rate": 0.9}, {"initial_alpha": 4.0}, {"antithetic": False})),
        digest(models={"tiny": Bottleneck(layer=5, beta=0.7)}),
    ]
    monkeypatch.setattr(text_saliency, "SALIENCY_VERSION", text_saliency.SALIENCY_VERSION + 1)
    changed.append(digest())
    monkeypatch.undo()
    assert len({digest(), *changed}) == len(changed) + 1
    same = [
        digest(),
        digest(batch_size=5),
        digest(specificity_bound=0.1),
        digest(models={"tiny": Bottleneck(layer=5, beta=0.5), "other": Bottleneck(layer=1)}),
    ]
    assert set(same) == {digest()}
    assert len(digest()) == 64


def test_the_constants_of_the_very_model_count(tiny_clip, images):
    own = ATTENTION.model_copy(update={"models": {"tiny": Bottleneck(layer=2, beta=1.5)}})
    (found,) = TextSaliency(tiny_clip, TEXTS, own, 0).patch_features(images[:1])
    plain = ATTENTION.model_copy(update={"layer": 2, "beta": 1.5})
    (expected,) = TextSaliency(tiny_clip, TEXTS, plain, 0).patch_features(images[:1])
    torch.testing.assert_close(found, expected)


def test_a_store_keeps_the_maps_of_different_texts_apart(tiny_clip):
    prepared = PreparedVolume(
        np.random.default_rng(0).random((1, 32, 32), dtype=np.float32), np.ones((1, 32, 32), bool)
    )
    preprocessing = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
    store, levels = FeatureStore(), {}
    for texts in (("glioma",), ("healthy",)):
        saliency = TextSaliency(tiny_clip, texts, ATTENTION, 0)
        for kept in (store, None):
            (patches,) = extract_patches(
                saliency, preprocessing, prepared, np.eye(4), (SlicePosition(0, 0, "image"),), kept
            )
            levels[texts, kept is store] = patches.levels[0]
    torch.testing.assert_close(levels[("glioma",), True], levels[("glioma",), False])
    torch.testing.assert_close(levels[("healthy",), True], levels[("healthy",), False])
    assert float((levels[("glioma",), True] - levels[("healthy",), True]).abs().max()) > 1e-3


def test_its_name_says_what_of_which_model(tiny_clip):
    assert TextSaliency(tiny_clip, ("glioma",), ATTENTION, 0).identity.name == "attention of tiny for 'glioma'"
    assert TextSaliency(tiny_clip, TEXTS, ATTENTION, 0).identity.name == "attention of tiny for 'glioma' and 1 more"


def test_bad_input(tiny_clip, images, monkeypatch):
    with pytest.raises(PromptError, match="no text to draw attention for"):
        TextSaliency(tiny_clip, (), ATTENTION, 0)
    with pytest.raises(PromptError, match="Shorten it"):
        TextSaliency(tiny_clip, ("brain " * 100,), ATTENTION, 0)
    with pytest.raises(ModelError, match="layer 10 does not fit a model of 11 blocks"):
        TextSaliency(tiny_clip, TEXTS, ATTENTION.model_copy(update={"layer": 10}), 0)
    monkeypatch.setattr(tiny_clip, "encode_texts", lambda texts: torch.full((len(texts), 16), torch.nan))
    with pytest.raises(ModelError, match="not finite"):
        TextSaliency(tiny_clip, TEXTS, ATTENTION, 0).patch_features(images)
