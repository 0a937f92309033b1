from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.hybrid import HybridSettings, HybridTower
from anomalabel.training.distillation import (
    FeatureStatistics,
    PictureSource,
    channels_of,
    distillation_step,
    imitation_loss,
    measure_statistics,
)


def teach(images: Tensor) -> tuple[Tensor, Tensor]:
    """Two channels at stride 8, three at stride 16, of grey images: means, and means of powers."""
    fine, coarse = (functional.avg_pool2d(images[:, None], stride) for stride in (8, 16))
    return torch.cat([fine, 5 - fine**2], dim=1), torch.cat([coarse, 100 * coarse**2, coarse**3], dim=1)


def batches(count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(4, 64, 64, generator=generator) ** 2 for _ in range(count)]


def test_equal_maps_cost_nothing() -> None:
    maps = (torch.randn(2, 5, 4, 4), torch.randn(2, 7, 2, 2))
    assert imitation_loss(maps, maps).item() == pytest.approx(0, abs=1e-6)


def test_imitation_by_hand() -> None:
    along, across = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    right_angle = 1 + 0.5 * 0.5
    assert imitation_loss((along, along), (across, across)).item() == pytest.approx(right_angle)
    assert imitation_loss((along, along), (along, across)).item() == pytest.approx(right_angle / 2)
    too_long = 0.5 * (3 - 0.5) / 2
    assert imitation_loss((along, along), (4 * along, 4 * along)).item() == pytest.approx(too_long)


def test_a_teacher_of_one_stride_is_brought_to_the_students_grid() -> None:
    target = torch.rand(2, 3, 1, 1).expand(2, 3, 4, 4)
    student = (target[:, :, :1, :1].expand(2, 3, 8, 8), target)
    assert imitation_loss(student, (target, target)).item() == pytest.approx(0, abs=1e-6)
    ramp = torch.linspace(0, 1, 4).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    finer = functional.interpolate(ramp, size=(8, 8), mode="bilinear", align_corners=False)
    assert imitation_loss((finer, ramp), (ramp, ramp)).item() < imitation_loss((finer.flip(3), ramp), (ramp, ramp))


def test_statistics_are_those_of_all_batches_together() -> None:
    measured = measure_statistics(teach, batches())
    for level in range(2):
        values = np.concatenate([teach(images)[level].numpy() for images in batches()])
        channels = values.transpose(1, 0, 2, 3).reshape(values.shape[1], -1)
        np.testing.assert_allclose(measured.mean[level].flatten(), channels.mean(1), rtol=1e-4)
        np.testing.assert_allclose(measured.std[level].flatten(), channels.std(1, ddof=1) + 1e-4, rtol=1e-4)
        assert measured.mean[level].shape == (1, len(channels), 1, 1)


def test_standardised_maps_have_mean_0_and_deviation_1() -> None:
    together = torch.cat(batches())
    standardised = measure_statistics(teach, batches()).standardise(teach(together))
    for maps in standardised:
        torch.testing.assert_close(maps.mean((0, 2, 3)), torch.zeros(maps.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(maps.std((0, 2, 3)), torch.ones(maps.shape[1]), atol=0.02, rtol=0)


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    constant = measure_statistics(lambda images: (torch.ones(2, 1, 4, 4), torch.ones(2, 1, 2, 2)), batches(1))
    fine, coarse = constant.standardise((torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)))
    assert not fine.any()
    assert not coarse.any()


def test_channels_of_a_teacher() -> None:
    assert channels_of(teach, 32, torch.device("cpu")) == (2, 3)


def test_steps_bring_the_student_nearer_to_its_teacher() -> None:
    torch.manual_seed(0)
    settings = HybridSettings(64, "resnet10t", depth=1, embedding=8, feature_channels=(2, 3))
    tower = HybridTower(settings)
    statistics = measure_statistics(teach, batches())
    images = batches(1)[0]
    optimiser = torch.optim.AdamW(tower.parameters(), lr=2e-3)
    losses = []
    for _ in range(8):
        loss = distillation_step(tower, teach, statistics, images)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert losses[-1] < 0.6 * losses[0]
    assert tower.projection.weight.grad is None, "patches learn, not yet the image's embedding"


def test_the_target_is_the_standardised_teacher() -> None:
    tower = HybridTower(HybridSettings(64, "resnet10t", depth=1, embedding=8, feature_channels=(2, 3))).eval()
    images = batches(1)[0]
    mine = tower.patch_features(tower.feature_maps(tower.normalise(images)))
    unit = FeatureStatistics(
        (torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1)), (torch.ones(1, 2, 1, 1), torch.ones(1, 3, 1, 1))
    )
    assert distillation_step(tower, lambda _: mine, unit, images).item() == pytest.approx(0, abs=1e-5)
    halves = FeatureStatistics(unit.mean, (0.5 * unit.std[0], 0.5 * unit.std[1]))
    doubled = tuple(2 * level for level in mine)
    expected = imitation_loss(mine, (doubled[0], doubled[1])).item()
    assert distillation_step(tower, lambda _: mine, halves, images).item() == pytest.approx(expected, rel=1e-5)


def test_pictures_are_drawn_from_each_set_by_its_share() -> None:
    dark, bright = np.full((5, 16, 16), 20, dtype=np.uint8), np.full((2, 16, 16), 220, dtype=np.uint8)
    source = PictureSource([(dark, 0.0), (bright, 3.0)], seed=0)
    views = source.draw(40, 24)
    assert views.shape == (40, 24, 24)
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(views, PictureSource([(dark, 0.0), (bright, 1.0)], seed=0).draw(40, 24)), "shares are relative"
    assert not torch.equal(views, source.draw(40, 24))
    assert views.median() > 0.5
    assert PictureSource([(dark, 1.0), (bright, 0.0)], seed=0).draw(40, 24).median() < 0.3
