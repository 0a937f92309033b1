"""Distils a general-purpose teacher's patch features into the embedded tower, before it sees a single word.

Ten thousand medical images alone do not teach a network what a texture is; a teacher trained on a million photographs
knows. The student imitates the teacher's feature maps at strides 8 and 16 on strongly changed views ("Knowledge
distillation: a good teacher is patient and consistent", Beyer et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.backbones.hybrid import HybridTower
from anomalabel.training.views import ViewRange, draw_views, mix_views

Maps = tuple[Tensor, Tensor]
"""Feature maps at strides 8 and 16, (N, channels, rows, columns) each."""

MIXED = 0.3
DISTILLATION_VIEWS = ViewRange()


class Teacher(Protocol):
    """A frozen network whose feature maps are imitated, for one backbones.timm_features.TimmFeatures."""

    def __call__(self, images: Tensor) -> Maps:
        """Maps at strides 8 and 16 of grey images (N, side, side) in [0, 1]."""
        ...


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and standard deviation per channel of the teacher's maps, (1, channels, 1, 1) for each stride."""

    mean: Maps
    std: Maps

    def to(self, device: torch.device) -> FeatureStatistics:
        """The same on a device."""
        mean, std = ((fine.to(device), coarse.to(device)) for fine, coarse in (self.mean, self.std))
        return FeatureStatistics(mean, std)

    def standardise(self, maps: Maps) -> Maps:
        """Each channel to mean 0 and standard deviation 1, so that no loud channel drowns the others."""
        fine, coarse = (
            (values.float() - mean) / std for values, mean, std in zip(maps, self.mean, self.std, strict=True)
        )
        return fine, coarse


class PictureSource:
    """Draws batches of changed views from pictures in memory.

    Args:
        sets: pictures (N, H, W) uint8 of one size, and the share of each set.
    """

    def __init__(self, sets: list[tuple[NDArray[np.uint8], float]], seed: int) -> None:
        self._sets = [pictures for pictures, _ in sets]
        shares = np.array([share for _, share in sets])
        self._shares = shares / shares.sum()
        self._choice = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int, side: int) -> Tensor:
        """(count, side, side) in [0, 1]."""
        chosen = self._choice.choice(len(self._sets), count, p=self._shares)
        rows = [self._sets[number][self._choice.integers(len(self._sets[number]))] for number in chosen]
        pictures = torch.from_numpy(np.stack(rows)).float() / 255
        return mix_views(draw_views(pictures, side, DISTILLATION_VIEWS, self._generator), MIXED, self._generator)


def channels_of(teacher: Teacher, side: int, device: torch.device) -> tuple[int, int]:
    """Channels of the teacher's two maps of grey images (N, side, side)."""
    with torch.no_grad():
        fine, coarse = teacher(torch.zeros(1, side, side, device=device))
    return fine.shape[1], coarse.shape[1]


def measure_statistics(teacher: Teacher, batches: Iterable[Tensor]) -> FeatureStatistics:
    """The teacher's channel statistics over batches of grey images (N, side, side) in [0, 1]."""
    with torch.no_grad():
        maps = [teacher(images) for images in batches]
    fine, coarse = (torch.cat([one[level].float() for one in maps]) for level in range(2))
    dimensions = (0, 2, 3)
    return FeatureStatistics(
        mean=(fine.mean(dimensions, keepdim=True), coarse.mean(dimensions, keepdim=True)),
        std=(fine.std(dimensions, keepdim=True) + 1e-4, coarse.std(dimensions, keepdim=True) + 1e-4),
    )


def imitation_loss(student: Maps, target: Maps) -> Tensor:
    """1 - cosine per place plus half the smooth L1 distance, mean over both strides; () float32.

    A target of another grid (a transformer has one stride) is brought to the student's.
    The cosine makes the direction right where features are small, the distance keeps their size.
    """
    losses = []
    for mine, theirs in zip(student, target, strict=True):
        if theirs.shape[2:] != mine.shape[2:]:
            theirs = functional.interpolate(theirs, size=mine.shape[2:], mode="bilinear", align_corners=False)
        angle = (1 - functional.cosine_similarity(mine.float(), theirs, dim=1)).mean()
        losses.append(angle + 0.5 * functional.smooth_l1_loss(mine.float(), theirs))
    return torch.stack(losses).mean()


def distillation_step(tower: HybridTower, teacher: Teacher, statistics: FeatureStatistics, images: Tensor) -> Tensor:
    """Loss of one batch of grey images (N, side, side) in [0, 1]."""
    with torch.no_grad():
        target = statistics.standardise(teacher(images))
    return imitation_loss(tower.patch_features(tower.feature_maps(tower.normalise(images))), target)
