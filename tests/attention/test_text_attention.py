"""The vector of several texts, and attention for it."""

from __future__ import annotations

import pytest
import torch

from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.attention.text_attention import mean_text_vectors, text_attention
from anomalabel.config import AttentionSettings
from anomalabel.errors import ModelError

SETTINGS = AttentionSettings(layer=2, beta=0.5, steps=3)


def test_a_sides_vector_points_where_the_mean_of_its_texts_does(tiny_clip):
    vectors = mean_text_vectors(tiny_clip, (("glioma", "tumor"), ("healthy brain",)))
    first, second = tiny_clip.encode_texts(["glioma", "tumor"])
    expected = (first + second) / (first + second).norm()
    torch.testing.assert_close(vectors[0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(vectors[1], tiny_clip.encode_texts(["healthy brain"])[0], atol=1e-6, rtol=0)


def test_attention_takes_the_noise_of_its_seed(tiny_clip):
    images = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(3))
    vectors = mean_text_vectors(tiny_clip, (("glioma",), ("healthy brain",)))
    maps = text_attention(tiny_clip, images, vectors, SETTINGS, seed=5)
    expected = attention_maps(tiny_clip, images, vectors, SETTINGS, draw_noise(SETTINGS, 17, 32, 5))
    assert maps.shape == (2, 2, 4, 4)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-5)


def test_attention_that_is_not_finite_is_an_error(tiny_clip):
    with pytest.raises(ModelError, match="attention of the model tiny is not finite"):
        text_attention(tiny_clip, torch.rand(1, 32, 32), torch.full((1, 16), torch.nan), SETTINGS, seed=0)
