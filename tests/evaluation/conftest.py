"""Small pictures on disk whose truth is known, and an encoder that costs nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.patch_encoders import ModulePatchEncoder
from anomalabel.detectors.base import Detection
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.registry import BUILDERS, MethodBuilder
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.finding import ModelIdentity, Threshold

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


@pytest.fixture
def bmad_folder(tmp_path: Path) -> Path:
    """BMAD in small: its six sets in their published layout, 4 training, 2 validation and 5 test images each.

    Three sets have masks (of sick images, in `label`) and their images in `img`, the others have neither.
    """
    root = tmp_path / "BMAD"
    for number, (folder, masked, name) in enumerate(BMAD_FOLDERS):
        generator = np.random.default_rng(number)
        for part, counts in {"train": (4, 0), "valid": (1, 1), "test": (3, 2)}.items():
            for label, count in zip(("good", "Ungood"), counts, strict=True):
                for index in range(count):
                    stem = name(f"{number}{part}{label}", index)
                    place = root / folder / part / label
                    pixels, lesion = draw_picture(generator), disc(generator)
                    if label == "Ungood":
                        pixels[lesion] = 250
                        if masked:
                            write_picture(place / "label" / f"{stem}.png", lesion * 255)
                    write_picture(place / "img" / f"{stem}.png" if masked else place / f"{stem}.png", pixels)
    return root


def write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def running_number(where: str, index: int) -> str:
    """The digits of where an image lies make a patient of its own."""
    return str(zlib.crc32(f"{where}{index}".encode()) % 10**5).zfill(5)


BMAD_FOLDERS = (
    ("Brain", True, lambda where, index: f"{running_number(where, index)}_60"),
    ("Liver", True, lambda where, index: f"{running_number(where, index)}_487"),
    ("Retina_RESC", True, lambda where, index: f"{running_number(where, index)}_28"),
    ("Retina_OCT2017", False, lambda where, index: f"NORMAL-{running_number(where, index)}-1"),
    ("Chest", False, lambda where, index: f"Normal-ff8d7572-1183-45e4-a1bf-7300000{running_number(where, index)}"),
    ("Histopathology", False, running_number),
)


class MeanImage:
    """A method that learns: how far each pixel lies from the mean of the healthy images plus noise of the seed.

    It sets its own thresholds, and tells what it is called.
    """

    identity = ModelIdentity(name="mean image", weights_sha256="0" * 64)
    image_threshold = Threshold(value=0.3, rule="image: as it likes")
    pixel_threshold = Threshold(value=0.2, rule="pixel: as it likes")

    def __init__(self, description: str, context: BuildContext) -> None:
        self.description = description
        noise = np.random.default_rng(context.seed)
        total = 0.0
        for number, image in enumerate(context.healthy):
            if context.watch is not None:
                context.watch("adding up", number, len(context.healthy))
            total = total + image.prepared.scaled
        mean = total / len(context.healthy)
        self._mean = mean + noise.normal(0, 0.01, mean.shape)

    def detect(self, prepared, affine_ras, positions, progress) -> Detection:
        """See `Detector.detect`."""
        difference = np.abs(prepared.scaled - self._mean).astype(np.float32)
        return Detection(difference, float(difference.max()))


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, BuildContext]]:
    """The four saliencies of reconstruction are `MeanImage` here; what each was built from, in order."""
    built: list[tuple[str, BuildContext]] = []

    def builder(name: str) -> MethodBuilder:
        def build(context: BuildContext) -> MeanImage:
            built.append((name, context))
            return MeanImage(f"saliency of {name}", context)

        return MethodBuilder(build, needs_healthy=True, uses_prompts=True, calibrates=True)

    for name in ("none", "ear", "plp", "clap"):
        monkeypatch.setitem(BUILDERS, f"reconstruction_{name}", builder(name))
    return built
