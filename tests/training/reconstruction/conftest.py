"""Healthy slices small enough that a training of them takes a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from anomalabel.config import AugmentationSettings, ReconstructionSettings
from anomalabel.training.reconstruction.fit import ReconstructionFit, fit_reconstruction
from anomalabel.training.reconstruction.slices import HealthySlices

SIDE = 64


def discs(count: int, seed: int) -> HealthySlices:
    """Bright discs of random place and size on a gradient, a square of each hidden, a border outside the view."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    images, hidden = [], torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for number in range(count):
        top, left, radius = (torch.rand(3, generator=generator) * torch.tensor([30, 30, 10])).tolist()
        disc = (rows - 17 - top) ** 2 + (columns - 17 - left) ** 2 < (5 + radius) ** 2
        images.append(torch.where(disc, 0.8, 0.2 + 0.2 * columns / SIDE))
        hidden[number, 8 + int(top) : 32 + int(top), 8 + int(left) : 32 + int(left)] = True
    inside = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    inside[:, 4:-4, 4:-4] = True
    return HealthySlices(torch.stack(images).half(), hidden, inside, tuple(f"{n}.png" for n in range(count)))


def small_settings(**training: object) -> ReconstructionSettings:
    """A tiny network; `training` are settings of its training."""
    return ReconstructionSettings.model_validate(
        {
            "side": SIDE,
            "channels": (4, 4, 8, 8, 8, 8),
            "mosaic": {"blocks": (4, 8)},
            "losses": {"l2": 10.0, "ssim": 0.1, "msgms": 1.0},
            "similarity": {"scales": 2},
            "training": {"epochs": 3, "samples": 10, "batch_size": 4, "learning_rate": 5e-3, **training},
        }
    )


@pytest.fixture(scope="session")
def learnt() -> HealthySlices:
    return discs(16, 1)


@pytest.fixture(scope="session")
def held_out() -> HealthySlices:
    return discs(5, 2)


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., ReconstructionSettings]:
    return small_settings


@pytest.fixture(scope="session")
def fit(learnt: HealthySlices, held_out: HealthySlices) -> Callable[..., ReconstructionFit]:
    """`fit_reconstruction` of small slices; whatever is given takes the place of the usual."""

    def run(**given: object) -> ReconstructionFit:
        usual = {
            "learnt": learnt,
            "held_out": held_out,
            "settings": small_settings(),
            "augmentation": AugmentationSettings(mirror_left_right=True),
            "seed": 3,
            "device": torch.device("cpu"),
            "watch": lambda stage, done, total: None,
            "checkpoints": None,
            "fingerprint": "discs",
        }
        return fit_reconstruction(**{**usual, **given})  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="session")
def plain(fit: Callable[..., ReconstructionFit]) -> ReconstructionFit:
    """The usual training, uninterrupted."""
    return fit()
