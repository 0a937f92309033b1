from __future__ import annotations

import pytest
import torch
from monai.metrics.regression import compute_ssim_and_cs

from anomalabel.training.reconstruction.structural_similarity import WINDOW, ssim_map


@pytest.mark.parametrize("side", [WINDOW, 40])
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_the_map_and_its_gradient_are_those_of_monai(side: int, noise: float) -> None:
    generator = torch.Generator().manual_seed(side)
    images = torch.rand(3, 1, side, side, generator=generator)
    restored = (images + noise * torch.randn(images.shape, generator=generator)).requires_grad_()
    window, sigma = (WINDOW, WINDOW), (1.5, 1.5)
    expected, _ = compute_ssim_and_cs(restored, images, 2, window, sigma, data_range=1.0)
    (slope,) = torch.autograd.grad(expected.sum(), restored)
    found = ssim_map(images, restored)
    assert found.shape == (3, 1, side - 10, side - 10)
    assert torch.allclose(found, expected, atol=5e-5)
    assert torch.allclose(torch.autograd.grad(found.sum(), restored)[0], slope, atol=1e-3 * float(slope.abs().max()))


def test_an_image_is_like_itself() -> None:
    images = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ssim_map(images, images), torch.ones(2, 1, 10, 10), atol=1e-6)
