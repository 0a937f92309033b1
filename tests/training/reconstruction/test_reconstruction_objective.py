from __future__ import annotations

import pytest
import torch
from monai.losses import SSIMLoss
from skimage.metrics import structural_similarity

from anomalabel.config.reconstruction import GradientSimilarity, ReconstructionLosses
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.training.reconstruction.objective import objective

SIDE = 32
SCALES = GradientSimilarity(scales=2)
ALL = ReconstructionLosses(l2=10, ssim=0.5, msgms=2)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def restored() -> torch.Tensor:
    return torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def everywhere() -> torch.Tensor:
    return torch.ones(2, 1, SIDE, SIDE, dtype=torch.bool)


def test_losses_of_whole_images_are_those_of_the_libraries(images: torch.Tensor, restored: torch.Tensor) -> None:
    losses = objective(restored, images, everywhere(), ALL, SCALES)
    for number in range(2):
        own = slice(number, number + 1)
        mean_square = ((restored[own] - images[own]) ** 2).mean()
        assert float(losses["l2"][number]) == pytest.approx(10 * float(mean_square), rel=1e-5)
        alike = SSIMLoss(spatial_dims=2, data_range=1.0)(restored[own], images[own])
        assert float(losses["ssim"][number]) == pytest.approx(0.5 * float(alike), rel=1e-5)
        gradients = msgms_map(images[own], restored[own], SCALES).mean() / 2
        assert float(losses["msgms"][number]) == pytest.approx(2 * float(gradients), rel=1e-5)


@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_ssim_is_that_of_scikit_image_where_its_window_lies_in_the_image(images: torch.Tensor, noise: float) -> None:
    generator = torch.Generator().manual_seed(2)
    restored = (images + noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    inside = torch.rand(images.shape, generator=generator) < 0.7
    weights = ReconstructionLosses(l2=0, ssim=2, msgms=0)
    losses = objective(restored, images, inside, weights, SCALES)
    assert set(losses) == {"ssim"}
    shown = torch.where(inside, restored, images)
    for number in range(2):
        real, other = (values[number, 0].double().numpy() for values in (images, shown))
        usual = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        _, alike = structural_similarity(real, other, full=True, **usual)
        whole = inside[number, 0, 5:-5, 5:-5].numpy()
        assert float(losses["ssim"][number]) == pytest.approx(2 * (1 - alike[5:-5, 5:-5][whole]).mean(), rel=1e-3)


def test_a_step_down_the_slope_of_ssim_makes_images_more_alike(images: torch.Tensor, restored: torch.Tensor) -> None:
    restored.requires_grad_()
    objective(restored, images, everywhere(), ReconstructionLosses(l2=0, ssim=1, msgms=0), SCALES)[
        "ssim"
    ].sum().backward()
    assert restored.grad is not None
    step = (restored - 0.5 * restored.grad).detach()
    before, after = (
        objective(one, images, everywhere(), ReconstructionLosses(l2=0, ssim=1, msgms=0), SCALES)["ssim"]
        for one in (restored.detach(), step)
    )
    assert (after < before).all()


def test_a_known_offset(images: torch.Tensor) -> None:
    losses = objective(images + 0.1, images, everywhere(), ReconstructionLosses(l2=10, msgms=1), SCALES)
    assert set(losses) == {"l2", "msgms"}
    assert losses["l2"].tolist() == pytest.approx([0.1, 0.1], rel=1e-4)
    # A constant leaves every gradient as it was, but for the image's zero-padded border if there is one.
    assert float(losses["msgms"].max()) < 0.05


def test_what_lies_outside_the_field_of_view_does_not_count(images: torch.Tensor, restored: torch.Tensor) -> None:
    inside = everywhere()
    inside[:, :, :, 16:] = False
    changed = restored.clone()
    changed[..., 16:] = 7
    restored.requires_grad_()
    losses = objective(restored, images, inside, ALL, SCALES)
    for name, values in objective(changed, images, inside, ALL, SCALES).items():
        assert torch.equal(values, losses[name].detach())
    expected = 10 * ((restored - images) ** 2)[..., :16].mean(dim=(1, 2, 3))
    assert torch.allclose(losses["l2"], expected, rtol=1e-5)
    torch.stack(list(losses.values())).sum().backward()
    assert restored.grad is not None
    assert not restored.grad[..., 16:].any()
    assert restored.grad[..., :16].abs().min() > 0


def test_a_slice_without_a_field_of_view_has_no_loss(images: torch.Tensor, restored: torch.Tensor) -> None:
    inside = everywhere()
    inside[1] = False
    losses = objective(restored, images, inside, ALL, SCALES)
    assert all(float(values[1]) == 0 and float(values[0]) > 0 for values in losses.values())


def test_half_precision_is_compared_in_full(images: torch.Tensor) -> None:
    losses = objective(images.bfloat16(), images, everywhere(), ALL, SCALES)
    assert all(values.dtype == torch.float32 for values in losses.values())
    # bfloat16 keeps 8 bits: errors of at most 2^-9 of the value.
    assert 0 < float(losses["l2"].max()) < 10 * 2**-18
