"""Small pictures on disk whose truth is known, and an encoder that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.patch_encoders import ModulePatchEncoder
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet

SIDE = 32
MakeSet = Callable[..., EvaluationSet]


class BlockMeans(nn.Module):
    """(N, 32, 32) to one map (N, 2, 8, 8): brightness of each block, and how it differs from its right neighbour."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        means = nn.functional.avg_pool2d(images[:, None], 4)
        return (torch.cat([means, means - means.roll(1, dims=3)], dim=1),)


@pytest.fixture
def block_encoders() -> GivenEncoders:
    """Encoders whose patch features are `BlockMeans`."""
    return GivenEncoders(patches=ModulePatchEncoder(BlockMeans(), "block means", SIDE))


def draw_picture(generator: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) uint8: grey waves with noise, nowhere black."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = np.sin(x * generator.uniform(4, 9)) * np.cos(y * generator.uniform(4, 9))
    return np.clip(110 + 20 * waves + generator.normal(0, 6, (SIDE, SIDE)), 1, 200).astype(np.uint8)


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Writes pictures and returns the set of them.

    Arguments: `normal`, `abnormal` and `healthy` numbers of images; `patients` how many patients the tested images are
    dealt out to (0: unknown); `contrast` of the bright disc that is the lesion of an abnormal image; `seed`; `name` of
    the folder.
    """

    def make(
        normal: int = 12,
        abnormal: int = 6,
        healthy: int = 0,
        patients: int = 0,
        contrast: int = 50,
        seed: int = 0,
        name: str = "set",
    ) -> EvaluationSet:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        parts = [("normal", normal), ("abnormal", abnormal), ("healthy", healthy)]
        cases: dict[str, list[EvaluationCase]] = {}
        for number, (kind, count) in enumerate(parts):
            generator = np.random.default_rng((seed, number))
            cases[kind] = []
            for index in range(count):
                image, mask = folder / f"{kind}{index}.png", folder / f"{kind}{index}_mask.png"
                pixels = draw_picture(generator)
                if kind == "abnormal":
                    lesion = disc(generator)
                    pixels = np.where(lesion, np.minimum(pixels.astype(int) + contrast, 255), pixels).astype(np.uint8)
                    Image.fromarray(lesion.astype(np.uint8) * 255).save(mask)
                Image.fromarray(pixels).save(image)
                patient = f"p{index % patients}" if patients and kind != "healthy" else None
                sick = kind == "abnormal"
                cases[kind].append(EvaluationCase(image.name, image, sick, mask if sick else None, None, patient))
        return EvaluationSet(name, tuple(cases["normal"] + cases["abnormal"]), tuple(cases["healthy"]))

    return make


def disc(generator: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) bool."""
    y, x = np.mgrid[:SIDE, :SIDE]
    row, column = generator.integers(8, SIDE - 8, 2)
    return (y - row) ** 2 + (x - column) ** 2 <= 16
