"""MSGMS against a slow reference, by hand, and by what must hold of any two images."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anomalabel.config.reconstruction import GradientSimilarity
from anomalabel.reconstruction.gradient_similarity import msgms_map

_spec = importlib.util.spec_from_file_location("msgms_reference", Path(__file__).with_name("msgms_reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

PUBLISHED = GradientSimilarity()
ONE_SCALE = GradientSimilarity(scales=1)


def pair(count, side, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, count, 1, side, side, generator=generator, dtype=dtype)


def slow(images, restored, similarity):
    maps = [
        reference.reference_map(image, one, similarity.scales, similarity.constant)
        for image, one in zip(images[:, 0].numpy(), restored[:, 0].numpy(), strict=True)
    ]
    return np.stack(maps)[:, None]


@pytest.mark.parametrize(
    ("count", "side", "scales"),
    [(3, 64, 4), (1, 32, 1), (2, 96, 3), pytest.param(9, 128, 4, id="in parts"), pytest.param(2, 44, 4, id="odd 11")],
)
def test_it_equals_the_slow_reference(count, side, scales):
    similarity = GradientSimilarity(scales=scales)
    images, restored = pair(count, side)
    fast = msgms_map(images, restored, similarity)
    assert fast.dtype == torch.float32
    assert fast.shape == (count, 1, side, side)
    np.testing.assert_allclose(fast.numpy(), slow(images, restored, similarity), atol=1e-5, rtol=0)


def test_it_equals_the_slow_reference_on_smooth_images():
    ramp = torch.linspace(0, 1, 64)
    images = (ramp[:, None] * ramp).expand(2, 1, 64, 64).clone()
    restored = images + 0.01 * pair(2, 64)[0]
    fast = msgms_map(images, restored, PUBLISHED)
    np.testing.assert_allclose(fast.numpy(), slow(images, restored, PUBLISHED), atol=1e-5, rtol=0)


def test_an_edge_that_was_not_restored_by_hand():
    """A step of 1 has gradient 1 on both of its sides, 0 elsewhere: 1 - c / (1 + c) there."""
    images = torch.zeros(1, 1, 8, 8)
    images[..., 4:] = 1
    found = msgms_map(images, torch.full_like(images, 0.3), ONE_SCALE)[0, 0]
    expected = torch.zeros(8, 8)
    expected[:, 3:5] = 1 / 1.0026
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_half_an_edge_by_hand():
    """g = 1, h = 0.5: 1 - (2 * 0.5 + c) / (1.25 + c)."""
    images = torch.zeros(1, 1, 8, 8)
    images[..., 4:, :] = 1
    found = msgms_map(images, images / 2, GradientSimilarity(scales=1, constant=0.05))
    assert found[0, 0, 3, 2].item() == pytest.approx(1 - 1.05 / 1.30, abs=1e-6)


def test_scales_are_added_by_hand():
    """The edge between pixels 3 and 4 lies between the halves' pixels 1 and 2: upsampled, 1/4 and 3/4 beside it."""
    images = torch.zeros(1, 1, 8, 8)
    images[..., 4:] = 1
    found = msgms_map(images, torch.zeros_like(images), GradientSimilarity(scales=2))[0, 0, 5] * 1.0026
    torch.testing.assert_close(found, torch.tensor([0, 0.25, 0.75, 2, 2, 0.75, 0.25, 0]), atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, (2, 16, 16), elements=st.floats(0, 1, width=32)),
    st.integers(1, 3),
)
def test_it_is_symmetric_within_its_range_and_zero_for_the_same_image(images, scales):
    similarity = GradientSimilarity(scales=scales)
    first, second = torch.from_numpy(images)[:, None, None]
    found = msgms_map(first, second, similarity)
    assert torch.equal(found, msgms_map(second, first, similarity))
    assert found.min() >= 0
    assert found.max() <= scales
    assert torch.equal(msgms_map(first, first.clone(), similarity), torch.zeros_like(first))
    turned = msgms_map(first.mT, second.mT, similarity)
    torch.testing.assert_close(turned, found.mT, atol=1e-5, rtol=0)


def test_brightness_alone_is_no_difference():
    images = pair(2, 32)[0]
    assert msgms_map(images / 2, images / 2 + 0.5, PUBLISHED).max() < 1e-4


def test_parts_of_a_batch_are_what_each_image_gives_alone():
    images, restored = pair(19, 128)
    together = msgms_map(images, restored, PUBLISHED)
    pairs = zip(images, restored, strict=True)
    alone = torch.cat([msgms_map(one[None], other[None], PUBLISHED) for one, other in pairs])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_its_gradient_is_the_numerical_one():
    images, restored = pair(1, 8, dtype=torch.float64)
    restored.requires_grad_()
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: msgms_map(a, b, GradientSimilarity(scales=3)), (images, restored))


@pytest.mark.parametrize("same", [True, False])
def test_its_gradient_is_finite_on_constant_images(same):
    images = torch.full((2, 1, 32, 32), 0.4)
    restored = torch.full_like(images, 0.4 if same else 0.9).requires_grad_()
    msgms_map(images, restored, PUBLISHED).mean().backward()
    assert torch.equal(restored.grad, torch.zeros_like(images))


def test_its_gradient_is_finite_where_only_one_image_is_constant():
    images = pair(2, 32)[0]
    restored = torch.full_like(images, 0.5).requires_grad_()
    msgms_map(images, restored, PUBLISHED).mean().backward()
    assert torch.isfinite(restored.grad).all()


def test_descent_along_its_gradient_lowers_it():
    images, restored = pair(2, 32)
    restored.requires_grad_()
    before = msgms_map(images, restored, PUBLISHED).mean()
    before.backward()
    after = msgms_map(images, (restored - 1.0 * restored.grad).detach(), PUBLISHED).mean()
    assert after < before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    images, restored = pair(2, 32)
    found = msgms_map(images.to(dtype), restored.to(dtype), PUBLISHED)
    assert found.dtype == torch.float32
    assert torch.equal(found, msgms_map(images.to(dtype).float(), restored.to(dtype).float(), PUBLISHED))


def test_the_images_are_left_as_they_were():
    images, restored = pair(2, 32)
    copies = images.clone(), restored.clone()
    msgms_map(images, restored, PUBLISHED)
    assert torch.equal(images, copies[0])
    assert torch.equal(restored, copies[1])
