"""Saliency of each kind: what it is made of, its values and range, its batches and what is kept of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.attention.text_saliency import TextSaliency
from anomalabel.backbones import load_self_attention as loading
from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.loading import load_model
from anomalabel.config import (
    AnatomyConfig,
    AttentionSettings,
    ForegroundSettings,
    PreprocessingSettings,
    ReconstructionSettings,
    load_config,
)
from anomalabel.errors import Cancelled, ModelError, PromptError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.localization.patch_features import CutSlice, FeatureStore
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps, saliency_sources

PLAIN = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))
PROMPTS = PromptTexts(positive=("glioma", "tumor"), negative=("healthy brain",))


class Given:
    """An encoder whose one level is the 4 x 4 block means of a 16-pixel square, times a factor; counts its batches."""

    side = 16
    level_weights = (1.0,)
    text_level = None

    def __init__(self, factor: float = 1.0) -> None:
        self.identity = ModelIdentity(name=f"times {factor}", weights_sha256="3" * 64)
        self.factor, self.batches = factor, []

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.batches.append(len(images))
        return (self.factor * torch.nn.functional.avg_pool2d(images[:, None], 4),)


class Squared(Given):
    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (super().patch_features(images)[0] ** 2,)


@pytest.fixture
def config() -> AnatomyConfig:
    attention = AttentionSettings(layer=5, beta=0.5, steps=4)
    return load_config("brain_mri").model_copy(update={"attention": attention, "preprocessing": PLAIN})


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_timm_weights", lambda network: None)


def cut(seed: int, side: int = 16) -> CutSlice:
    """Blocks of 4 x 4 pixels, so that their means are known."""
    blocks = np.random.default_rng(seed).random((side // 4, side // 4), dtype=np.float32)
    return CutSlice(np.kron(blocks, np.ones((4, 4), np.float32)), np.ones((side, side), bool), (1.0, 1.0))


def unit(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def test_none_hides_nothing(tiny_clip, config):
    sources = saliency_sources("none", GivenEncoders(), PROMPTS, config, seed=0)
    assert (sources.encoders, sources.name, sources.resolved_self_attention) == ((), "none: nothing is hidden", None)
    maps = saliency_maps(sources, PLAIN, [cut(0), cut(1)], None, 4)
    assert [one.tolist() for one in maps] == [[[0.0]], [[0.0]]]


def test_plp_and_clap_are_attention_for_texts(tiny_clip, config):
    plp, clap = (saliency_sources(kind, GivenEncoders(tiny_clip), PROMPTS, config, 3) for kind in ("plp", "clap"))
    assert plp.name == "PLP: attention of tiny for disease texts"
    assert clap.name == "CLAP: attention of tiny for disease minus for health texts"
    expected = [
        TextSaliency(tiny_clip, texts, config.attention, 3).identity for texts in (PROMPTS.positive, PROMPTS.negative)
    ]
    assert [encoder.identity for encoder in plp.encoders] == expected[:1]
    assert [encoder.identity for encoder in clap.encoders] == expected
    slices = [cut(0, 32), cut(1, 32)]
    raw = [
        encoder.patch_features(torch.from_numpy(np.stack([one.scaled for one in slices])))[0][:, 0].numpy()
        for encoder in clap.encoders
    ]
    for number, (one, both) in enumerate(
        zip(*(saliency_maps(sources, PLAIN, slices, None, 8) for sources in (plp, clap)), strict=True)
    ):
        assert (one.shape, one.dtype, both.dtype) == ((4, 4), np.float32, np.float32)
        np.testing.assert_allclose(one, unit(raw[0][number]), atol=1e-4)
        np.testing.assert_allclose(both, unit(raw[0][number]) - unit(raw[1][number]), atol=1e-4)


def test_ear_says_what_stands_in(tiny_clip, config, unreachable):
    sources = saliency_sources("ear", GivenEncoders(tiny_clip), PROMPTS, config, 0)
    assert sources.name == "EAR: mean self-attention of tiny (no weights of vit_small_patch16_224.dino at hand)"
    assert sources.resolved_self_attention == "tiny"
    again = saliency_sources("ear", GivenEncoders(tiny_clip), PROMPTS, config, 0, sources.resolved_self_attention)
    assert again.name == "EAR: mean self-attention of tiny"
    assert [one.identity for one in again.encoders] == [one.identity for one in sources.encoders]


def test_ear_takes_the_configs_network_and_a_trained_model_gets_no_other(tiny_clip, config, unreachable):
    own = config.model_copy(update={"reconstruction": ReconstructionSettings(self_attention="tiny")})
    assert saliency_sources("ear", GivenEncoders(tiny_clip), PROMPTS, own, 0).name == "EAR: mean self-attention of tiny"
    with pytest.raises(ModelError, match="are not here and cannot be fetched"):
        saliency_sources("ear", GivenEncoders(tiny_clip), PROMPTS, own, 0, "timm:vit_small_patch16_224.dino")


def test_a_side_without_texts(tiny_clip, config):
    with pytest.raises(PromptError, match="no text to draw attention for"):
        saliency_sources("clap", GivenEncoders(tiny_clip), PromptTexts(positive=("glioma",), negative=()), config, 0)


def test_maps_are_scaled_slice_by_slice_and_subtracted():
    slices = [cut(0), cut(1)]
    one, both = (
        saliency_maps(SaliencySources(encoders, ""), PLAIN, slices, None, 8)
        for encoders in ((Given(7.0),), (Given(7.0), Squared()))
    )
    for number, sliced in enumerate(slices):
        blocks = sliced.scaled[::4, ::4]
        np.testing.assert_allclose(one[number], unit(blocks), atol=1e-6)
        np.testing.assert_allclose(both[number], unit(blocks) - unit(blocks**2), atol=1e-6)
        assert (one[number].min(), one[number].max()) == (0, 1)


def test_patches_without_body_do_not_set_the_scale():
    scaled = np.kron(np.float32([[0.2, 0.9], [0.4, 0.6]]), np.ones((8, 8), np.float32))
    seen = np.ones((16, 16), bool)
    seen[:8, 8:] = False
    (found,) = saliency_maps(SaliencySources((Given(),), ""), PLAIN, [CutSlice(scaled, seen, (1.0, 1.0))], None, 1)
    expected = np.kron(np.float32([[0.0, 1.0], [0.5, 1.0]]), np.ones((2, 2), np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("seen", [True, False])
def test_a_constant_map_is_zero(seen):
    constant = CutSlice(np.full((16, 16), 0.3, np.float32), np.full((16, 16), seen), (1.0, 1.0))
    noisy = CutSlice(constant.scaled + np.float32(2e-8) * cut(0).scaled, constant.seen, (1.0, 1.0))
    for one in (constant, noisy):
        (found,) = saliency_maps(SaliencySources((Given(1e3),), ""), PLAIN, [one], None, 1)
        np.testing.assert_array_equal(found, np.zeros((4, 4), np.float32))


def test_what_the_store_lacks_fills_batches_across_slices():
    encoder, other, store = Given(), Given(2.0), FeatureStore()
    slices = [cut(seed) for seed in range(7)]
    sources = SaliencySources((encoder, other), "")
    first = saliency_maps(SaliencySources((encoder,), ""), PLAIN, slices[1:6:2], store, 2)
    assert encoder.batches == [2, 1]
    told = []
    both = saliency_maps(sources, PLAIN, slices, store, 3, lambda done, total: told.append((done, total)))
    assert encoder.batches == [2, 1, 3, 1]
    assert other.batches == [3, 3, 1]
    assert told == [(5, 14), (7, 14), (10, 14), (13, 14), (14, 14)]
    np.testing.assert_allclose(np.stack(both), 0, atol=1e-6)
    np.testing.assert_array_equal(saliency_maps(SaliencySources((encoder,), ""), PLAIN, slices[1:6:2], store, 2), first)
    assert encoder.batches == [2, 1, 3, 1]


def test_what_was_done_before_it_was_cancelled_is_kept():
    encoder, store = Given(), FeatureStore()
    sources, slices = SaliencySources((encoder,), ""), [cut(seed) for seed in range(6)]

    def cancel(done: int, total: int) -> None:
        if done >= 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        saliency_maps(sources, PLAIN, slices, store, 2, cancel)
    saliency_maps(sources, PLAIN, slices, store, 2)
    assert encoder.batches == [2, 2, 2]


def test_no_slices_give_no_maps():
    assert saliency_maps(SaliencySources((Given(), Given()), ""), PLAIN, [], FeatureStore(), 2) == []


def test_attention_of_the_embedded_model_does_not_depend_on_the_batch():
    model = load_model("embedded", "cpu", "float32")
    sources = saliency_sources("plp", GivenEncoders(model), PROMPTS, load_config("brain_mri"), 0)
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j].astype(np.float32)
    body = rows**2 + columns**2 < 0.8
    picture = np.where(body, 0.4 + 0.1 * np.sin(9 * rows), 0).astype(np.float32)
    first, second = CutSlice(picture, body, (1.0, 1.0)), CutSlice(picture.T.copy(), body, (1.0, 1.0))
    together = saliency_maps(sources, PLAIN, [first, second], None, 2)
    (alone,) = saliency_maps(sources, PLAIN, [second], None, 2)
    assert alone.shape == (14, 14)
    np.testing.assert_allclose(alone, together[1], atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.1
