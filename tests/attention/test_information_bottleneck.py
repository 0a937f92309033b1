from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.config import AttentionSettings
from anomalabel.errors import ModelError

SETTINGS = AttentionSettings(layer=1, beta=0.1, steps=5, samples=4)


@pytest.fixture
def images(tiny_model: OpenClipModel) -> Tensor:
    return torch.rand(3, tiny_model.side, tiny_model.side, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def texts(tiny_model: OpenClipModel) -> Tensor:
    return tiny_model.encode_texts(["a lesion", "healthy tissue"])


def noise_for(model: OpenClipModel, settings: AttentionSettings, seed: int = 0) -> Tensor:
    rows, columns = model.tower.grid
    return draw_noise(settings, rows * columns + model.tower.prefix_tokens, model.tower.width, seed)


def test_fast_path_gives_the_reference_map(
    tiny_model: OpenClipModel, images: Tensor, texts: Tensor, m2ib_reference: ModuleType
) -> None:
    noise = noise_for(tiny_model, SETTINGS)
    fast = attention_maps(tiny_model, images, texts, SETTINGS, noise)
    visual = tiny_model._model.visual
    for prompt in range(2):
        for image in range(3):
            slow = m2ib_reference.reference_map(
                visual,
                lambda chosen=prompt: texts[chosen : chosen + 1],
                tiny_model.tower.blocks[SETTINGS.layer],
                tiny_model.normalise(images[image : image + 1]),
                noise,
                SETTINGS.beta,
            )
            torch.testing.assert_close(fast[prompt, image].flatten(), slow, atol=1e-3, rtol=1e-4)


def test_map_depends_neither_on_the_batch_nor_on_the_other_prompts(
    tiny_model: OpenClipModel, images: Tensor, texts: Tensor
) -> None:
    noise = noise_for(tiny_model, SETTINGS)
    together = attention_maps(tiny_model, images, texts, SETTINGS, noise)
    alone = attention_maps(tiny_model, images[2:], texts[1:], SETTINGS, noise)
    torch.testing.assert_close(together[1:, 2:], alone, atol=1e-3, rtol=1e-4)


def test_shape_and_range(tiny_model: OpenClipModel, images: Tensor, texts: Tensor) -> None:
    maps = attention_maps(tiny_model, images, texts, SETTINGS, noise_for(tiny_model, SETTINGS))
    assert maps.shape == (2, 3, *tiny_model.tower.grid)
    assert torch.isfinite(maps).all()
    assert (maps > 0).all(), "information is positive"


def test_no_weight_has_a_gradient(tiny_model: OpenClipModel, images: Tensor, texts: Tensor) -> None:
    attention_maps(tiny_model, images, texts, SETTINGS, noise_for(tiny_model, SETTINGS))
    assert all(value.grad is None and not value.requires_grad for value in tiny_model._model.parameters())


def test_strong_compression_keeps_less(tiny_model: OpenClipModel, images: Tensor, texts: Tensor) -> None:
    noise = noise_for(tiny_model, SETTINGS)
    weak = attention_maps(tiny_model, images, texts, SETTINGS.model_copy(update={"beta": 1e-4}), noise)
    strong = attention_maps(tiny_model, images, texts, SETTINGS.model_copy(update={"beta": 100.0}), noise)
    assert strong.mean() < weak.mean()


def test_noise_comes_from_its_seed_alone_and_antithetic_noise_sums_to_zero() -> None:
    first, again, other = (draw_noise(SETTINGS, 5, 3, seed) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (5, 4, 5, 3)
    torch.testing.assert_close(first.sum(dim=1), torch.zeros(5, 5, 3))


def test_independent_noise_has_unit_variance() -> None:
    noise = draw_noise(SETTINGS.model_copy(update={"antithetic": False, "samples": 3}), 50, 40, 0)
    assert noise.shape == (5, 3, 50, 40)
    assert noise.std() == pytest.approx(1.0, abs=0.01)


def test_layer_above_the_model_is_a_typed_error(tiny_model: OpenClipModel, images: Tensor, texts: Tensor) -> None:
    settings = SETTINGS.model_copy(update={"layer": tiny_model.tower.depth - 1})
    with pytest.raises(ModelError, match="does not fit a model of"):
        attention_maps(tiny_model, images, texts, settings, noise_for(tiny_model, settings))
