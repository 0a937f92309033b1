"""Settings, networks and slices small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anomalabel.config import ReconstructionSettings
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.model import ReconstructionModel, kinds_of
from anomalabel.reconstruction.slices import RestorableSlice, SliceBatch, batch_of

SIDE = 64


class Answering(nn.Module):
    """Stands in for the U-Net: notes what it is shown, and answers with what a function makes of it."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer
        self.shown: list[Tensor] = []
        self.register_buffer("weight", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.clone())
        return self.answer(images)


def slice_of(seed: int, inside: np.ndarray | None = None) -> RestorableSlice:
    """Noise with a saliency of 4 x 4 patches, framed without a margin."""
    generator = np.random.default_rng(seed)
    whole = np.ones((SIDE, SIDE), dtype=bool)
    return RestorableSlice(
        SquareFrame.around((SIDE, SIDE), (1.0, 1.0), SIDE),
        generator.random((SIDE, SIDE), dtype=np.float32),
        whole if inside is None else inside,
        whole,
        generator.random((4, 4), dtype=np.float32),
    )


@pytest.fixture
def settings() -> Callable[..., ReconstructionSettings]:
    """A tiny network, MSGMS of one scale on cells of 8 pixels without healthy level; what is given comes on top."""

    def make(**values: object) -> ReconstructionSettings:
        usual: dict[str, object] = {
            "side": SIDE,
            "channels": (4,) * 6,
            "mosaic": {"blocks": (16,)},
            "similarity": {"scales": 1},
            "errors": {"features": 0.0, "cell": 8},
            "healthy_level": False,
        }
        return ReconstructionSettings.model_validate(usual | values)

    return make


@pytest.fixture
def answering() -> Callable[[Callable[[Tensor], Tensor]], Answering]:
    """See `Answering`."""
    return Answering


@pytest.fixture
def batch() -> SliceBatch:
    """Two slices of noise; of the second one only a part is inside."""
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[10:40, 5:60] = True
    return batch_of([slice_of(1), slice_of(2, inside)], 0.5, torch.device("cpu"))


@pytest.fixture
def with_levels() -> Callable[..., ReconstructionModel]:
    """A model whose healthy levels are drawn, of a given network and settings."""

    def make(chosen: ReconstructionSettings, network: nn.Module, encode: object = None) -> ReconstructionModel:
        generator = torch.Generator().manual_seed(8)
        cells = chosen.side // chosen.errors.cell
        levels = {
            kind: HealthyLevel(
                torch.rand(cells, cells, generator=generator), 0.1 + torch.rand(cells, cells, generator=generator)
            )
            for kind in kinds_of(chosen)
        }
        return ReconstructionModel(chosen, network, levels, encode)  # type: ignore[arg-type]

    return make
