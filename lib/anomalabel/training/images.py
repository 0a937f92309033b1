"""Training images in memory, and batches that hold the same image with and without a lesion."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.training.captions import negative_caption, positive_caption
from anomalabel.training.crops import crop_around, crop_beside
from anomalabel.training.synthetic import plant_lesion

HEALTHY = "healthy"
PLANTED = "planted"


@dataclass(frozen=True)
class TrainingImages:
    """N square images with what is known about each.

    Args:
        image: (N, side, side) uint8. lesion: (N, side, side) uint8, 255 inside a box or mask.
        located: (N,) bool, whether `lesion` says where the disease is (healthy images: True, nowhere).
        anatomy, modality, plane, condition: (N,) str.
    """

    image: NDArray[np.uint8]
    lesion: NDArray[np.uint8]
    located: NDArray[np.bool_]
    anatomy: NDArray[np.str_]
    modality: NDArray[np.str_]
    plane: NDArray[np.str_]
    condition: NDArray[np.str_]


@dataclass(frozen=True)
class Batch:
    """One training step's images; rows `planted` and `clean` are the same image with and without a planted lesion."""

    images: Tensor
    lesion: Tensor
    located: Tensor
    diseased: Tensor
    captions: list[str]
    positive: list[str]
    negative: list[str]
    meaning: list[str]
    planted: Tensor
    clean: Tensor


@dataclass(frozen=True)
class BatchPlan:
    """How many of each kind one batch holds.

    Args:
        singles: untouched images per (anatomy, condition).
        planted: pairs per anatomy of a healthy image and the same with a planted lesion.
        crops: pairs per anatomy of a crop beside the lesion and a crop around it, from one diseased image; they
            keep the model from telling disease by the scanner.
    """

    singles: Mapping[tuple[str, str], int]
    planted: Mapping[str, int]
    crops: Mapping[str, int]


class BatchMaker:
    """Draws augmented batches after a plan; one seed, one sequence."""

    def __init__(self, images: TrainingImages, plan: BatchPlan, seed: int) -> None:
        self._images = images
        self._generator = np.random.default_rng(seed)
        self._words = random.Random(seed)
        self._singles = [(self._rows(*key), count) for key, count in plan.singles.items()]
        self._planted = [(self._rows(anatomy, HEALTHY), count) for anatomy, count in plan.planted.items()]
        self._crops = [(self._located(anatomy), count) for anatomy, count in plan.crops.items()]

    def draw(self) -> Batch:
        """The next batch, augmented."""
        rows: list[int] = []
        conditions: list[str] = []
        pixels: list[NDArray[np.float32]] = []
        for row in self._choose(self._singles):
            rows.append(row)
            conditions.append(str(self._images.condition[row]))
            pixels.append(self._stack(row))
        clean = []
        for row in self._choose(self._planted):
            base = self._stack(row)
            changed, shape = plant_lesion(base[0], self._generator)
            clean.append(len(rows))
            rows += [row, row]
            conditions += [HEALTHY, PLANTED]
            pixels += [base, np.stack([changed, shape])]
        for row, beside, around in self._draw_crops():
            clean.append(len(rows))
            rows += [row, row]
            conditions += [HEALTHY, str(self._images.condition[row])]
            pixels += [beside, around]
        clean_rows = torch.tensor(clean)
        mirrored = torch.from_numpy(self._images.anatomy[rows] != "chest")
        both_of_all = self._augment(torch.from_numpy(np.stack(pixels)), clean_rows + 1, clean_rows, mirrored)
        return self._label(rows, conditions, both_of_all, clean_rows + 1, clean_rows)

    def draw_words(self, count: int) -> list[tuple[str, str]]:
        """Wordings and what they mean ("brain healthy", "chest diseased"), without images."""
        rows = [int(row) for row in self._generator.integers(len(self._images.image), size=count)]
        conditions = [self._words.choice([HEALTHY, PLANTED]) for _ in rows]
        return [self._word(row, condition)[2:4] for row, condition in zip(rows, conditions, strict=True)]

    def _choose(self, groups: Sequence[tuple[NDArray[np.int64], int]]) -> list[int]:
        return [int(row) for candidates, count in groups for row in self._generator.choice(candidates, count)]

    def _draw_crops(self) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
        """As many as planned, so that every batch has the same shape; images without such crops are passed over."""
        for candidates, count in self._crops:
            found = 0
            while found < count:
                row = int(self._generator.choice(candidates))
                both = self._stack(row)
                beside, around = crop_beside(both, self._generator), crop_around(both, self._generator)
                if beside is not None and around is not None:
                    found += 1
                    yield row, beside, around

    def _rows(self, anatomy: str, condition: str) -> NDArray[np.int64]:
        return np.flatnonzero((self._images.anatomy == anatomy) & (self._images.condition == condition))

    def _located(self, anatomy: str) -> NDArray[np.int64]:
        """Diseased images whose lesion has a known place."""
        lesion = self._images.lesion.any(axis=(1, 2))
        return np.flatnonzero((self._images.anatomy == anatomy) & self._images.located & lesion)

    def _stack(self, row: int) -> NDArray[np.float32]:
        image = self._images.image[row].astype(np.float32) / 255
        return np.stack([image, self._images.lesion[row].astype(np.float32) / 255])

    def _augment(self, both: Tensor, planted: Tensor, clean: Tensor, mirrored: Tensor) -> Tensor:
        """Scale, shift, turn a little, mirror brains and breasts, change contrast; the same for both of a pair."""
        count = both.shape[0]
        draw = torch.rand(count, 8, generator=torch.Generator().manual_seed(int(self._generator.integers(2**31))))
        draw[planted] = draw[clean]
        scale = 0.9 + 0.25 * draw[:, 0]
        angle = (draw[:, 1] - 0.5) * 0.35
        mirror = torch.where((draw[:, 2] < 0.5) & mirrored, -1.0, 1.0)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = scale * angle.cos() * mirror
        theta[:, 0, 1] = -scale * angle.sin()
        theta[:, 1, 0] = scale * angle.sin() * mirror
        theta[:, 1, 1] = scale * angle.cos()
        theta[:, :, 2] = (draw[:, 3:5] - 0.5) * 0.2
        grid = functional.affine_grid(theta, list(both.shape), align_corners=False)
        moved = functional.grid_sample(both, grid, mode="bilinear", align_corners=False)
        gamma = (2 ** ((draw[:, 5] - 0.5) * 1.2)).view(-1, 1, 1)
        gain = (0.8 + 0.4 * draw[:, 6]).view(-1, 1, 1)
        moved[:, 0] = (moved[:, 0].clamp(0, 1) ** gamma * gain).clamp(0, 1)
        noise = torch.randn(moved[:, 0].shape) * (draw[:, 7].view(-1, 1, 1) * 0.03)
        moved[:, 0] = (moved[:, 0] + noise).clamp(0, 1)
        return moved

    def _label(self, rows: list[int], conditions: list[str], both: Tensor, planted: Tensor, clean: Tensor) -> Batch:
        words = [self._word(row, condition) for row, condition in zip(rows, conditions, strict=True)]
        positive, negative, captions, meaning = ([word[part] for word in words] for part in range(4))
        return Batch(
            images=both[:, 0],
            lesion=both[:, 1],
            located=torch.from_numpy(self._images.located[rows]),
            diseased=torch.tensor([float(condition != HEALTHY) for condition in conditions]),
            captions=captions,
            positive=positive,
            negative=negative,
            meaning=meaning,
            planted=planted,
            clean=clean,
        )

    def _word(self, row: int, condition: str) -> tuple[str, str, str, str]:
        """A text for the disease, one for health, the one that is true of the image, and what that one means."""
        anatomy = str(self._images.anatomy[row])
        about = (anatomy, str(self._images.modality[row]), str(self._images.plane[row]))
        positive = positive_caption(*about, PLANTED if condition == HEALTHY else condition, self._words)
        negative = negative_caption(*about, self._words)
        if condition == HEALTHY:
            return positive, negative, negative, f"{anatomy} healthy"
        return positive, negative, positive, f"{anatomy} diseased"
