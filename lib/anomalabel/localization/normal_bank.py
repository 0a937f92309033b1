"""Distance of patches to their nearest neighbour among patches of healthy images (PatchCore; Roth et al. 2022).

All of the healthy patches are kept, up to a cap, instead of PatchCore's coreset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.device import choose_dtype
from anomalabel.config import NormalBankSettings
from anomalabel.errors import ImageReadError
from anomalabel.localization.nearest import HalfPrecisionSearch
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.volume import FloatArray

QUERIES_A_CHUNK = 1024
BANK_A_CHUNK = 1024
SMALLEST_DEVIATION = 1e-6


def patch_vectors(patches: Sequence[SlicePatches], pooling: int) -> list[Tensor]:
    """Every level as vectors on the finest grid, averaged over a patch's neighbourhood.

    Args:
        patches: of N slices, all from one encoder.
        pooling: odd; each feature becomes the mean over pooling x pooling patches of its own level, those beyond the
            border left out (PatchCore's locally aware features).

    Returns:
        (N, P, C_l) float32 for each level l, P = patches of the finest grid, row by row; coarser levels are
        interpolated bilinearly.
    """
    rows, columns = patches[0].seen.shape
    vectors = []
    for level in range(len(patches[0].levels)):
        maps = torch.stack([one.levels[level] for one in patches])
        if pooling > 1:
            maps = functional.avg_pool2d(maps, pooling, stride=1, padding=pooling // 2, count_include_pad=False)
        if maps.shape[2:] != (rows, columns):
            maps = functional.interpolate(maps, size=(rows, columns), mode="bilinear", align_corners=False)
        vectors.append(maps.flatten(2).transpose(1, 2))
    return vectors


@dataclass(frozen=True)
class FeatureScale:
    """What takes patch vectors into the space where distances are measured; learned from healthy patches alone.

    Args:
        mean, std: of each level, (C_l,) per channel or () for all channels.
        weights: how much each level counts.
        settings: metric, and whether levels count alike whatever their number of channels.
    """

    mean: tuple[Tensor, ...]
    std: tuple[Tensor, ...]
    weights: tuple[float, ...]
    settings: NormalBankSettings

    @classmethod
    def of(
        cls, vectors: Sequence[Tensor], settings: NormalBankSettings, weights: tuple[float, ...] = ()
    ) -> FeatureScale:
        """Measured on (P, C_l) vectors of healthy patches.

        Without standardisation a level is divided by its overall deviation, so that no level drowns the others, and the
        channels keep their proportions.
        """
        if settings.standardise:
            mean = [level.mean(0) for level in vectors]
            std = [level.std(0, correction=0) for level in vectors]
        else:
            mean = [level.new_zeros(()) for level in vectors]
            std = [level.std(correction=0) for level in vectors]
        deviations = tuple(one.clamp_min(SMALLEST_DEVIATION) for one in std)
        return cls(tuple(mean), deviations, weights or (1.0,) * len(vectors), settings)

    def apply(self, vectors: Sequence[Tensor]) -> Tensor:
        """(..., C_l) of each level to (..., sum of C_l); of unit length where the metric is cosine."""
        parts = zip(vectors, self.mean, self.std, self.weights, strict=True)
        scaled = [weight * (level - mean) / std for level, mean, std, weight in parts]
        if self.settings.balance_levels:
            scaled = [level / level.shape[-1] ** 0.5 for level in scaled]
        joined = torch.cat(scaled, dim=-1)
        return functional.normalize(joined, dim=-1) if self.settings.metric == "cosine" else joined


class NormalBank:
    """Patches of healthy images, and how far others are from them.

    Args:
        healthy: slices of healthy images, all from one encoder; patches without body stay out.
        settings: features, metric and cap.
        seed: of the sample where there are more patches than the cap.
        weights: how much each level counts; () = alike.

    Raises:
        ImageReadError: no patch of any slice holds body.
    """

    def __init__(
        self,
        healthy: Sequence[SlicePatches],
        settings: NormalBankSettings,
        seed: int,
        weights: tuple[float, ...] = (),
    ) -> None:
        self._settings = settings
        seen = torch.from_numpy(np.stack([one.seen for one in healthy])).flatten(1) if healthy else torch.zeros(0, 0)
        if not seen.any():
            raise ImageReadError(
                "No patch of the healthy images holds body.", "Give healthy images that show something."
            )
        kept = seen.flatten().nonzero()[:, 0]
        if len(kept) > settings.maximum_patches:
            generator = torch.Generator().manual_seed(seed)
            kept = kept[torch.randperm(len(kept), generator=generator)[: settings.maximum_patches]]
        levels = patch_vectors(healthy, settings.pooling)
        vectors = [level.flatten(0, 1)[kept.to(level.device)] for level in levels]
        self._scale = FeatureScale.of(vectors, settings, weights)
        self._bank = self._scale.apply(vectors)
        self._search = _search_in(self._bank)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: NormalBankSettings) -> NormalBank:
        """The bank whose `tensors` these are.

        Raises:
            KeyError: one is missing.
        """
        bank = cls.__new__(cls)
        bank._settings = settings
        count = len(tensors["weights"])
        mean, std = (tuple(tensors[f"{name}_{level}"] for level in range(count)) for name in ("mean", "std"))
        bank._scale = FeatureScale(mean, std, tuple(tensors["weights"].tolist()), settings)
        bank._bank = tensors["patches"]
        bank._search = _search_in(bank._bank)
        return bank

    def tensors(self) -> dict[str, Tensor]:
        """All that the bank knows, to be written; `from_tensors` with the same settings gives it back."""
        statistics = {
            f"{name}_{level}": value
            for name, values in (("mean", self._scale.mean), ("std", self._scale.std))
            for level, value in enumerate(values)
        }
        return {"patches": self._bank, "weights": torch.tensor(self._scale.weights, dtype=torch.float64), **statistics}

    def __len__(self) -> int:
        """Patches in the bank."""
        return len(self._bank)

    def distances(self, slices: Sequence[SlicePatches]) -> FloatArray:
        """(N, rows, columns) float32 of N slices of the bank's encoder, on the finest grid; NaN where no body is.

        The metric l2 gives Euclidean distances; cosine gives those of unit vectors, sqrt(2 - 2 cos), from 0 to 2.
        """
        vectors = self._scale.apply(patch_vectors(slices, self._settings.pooling))
        seen = np.stack([one.seen for one in slices])
        distances = np.full(seen.shape, np.nan, dtype=np.float32)
        inside = torch.from_numpy(seen).flatten(1).to(vectors.device)
        distances[seen] = self._search(vectors[inside]).cpu().numpy()
        return distances


def _search_in(bank: Tensor) -> Callable[[Tensor], Tensor]:
    """In bfloat16 where the processor has matrix units for it."""
    if bank.device.type == "cpu" and choose_dtype(bank.device, "auto") == torch.bfloat16:
        return HalfPrecisionSearch(bank).distances
    return lambda queries: nearest_distance(queries, bank)


def nearest_distance(queries: Tensor, bank: Tensor) -> Tensor:
    """Euclidean distance of each query to its nearest neighbour in the bank.

    Neighbours are found by matrix products, in chunks so that memory does not grow with the bank; the distance to each
    chunk's neighbour is then computed from the difference, since |q|^2 - 2 qb + |b|^2 loses small distances.

    Args:
        queries: (Q, C) float32.
        bank: (B, C) float32, B at least 1.

    Returns:
        (Q,) float32.
    """
    found = queries.new_empty(len(queries))
    # Half of |b|^2 about its mean: the smaller the number, the less of it rounding takes.
    halves = bank.square().sum(1) / 2
    parts = list(zip(bank.split(BANK_A_CHUNK), (halves - halves.mean()).split(BANK_A_CHUNK), strict=True))
    for start in range(0, len(queries), QUERIES_A_CHUNK):
        chunk = queries[start : start + QUERIES_A_CHUNK]
        nearest = torch.full((len(chunk),), torch.inf, device=queries.device)
        for members, half in parts:
            index = torch.addmm(half, chunk, members.T, alpha=-1).argmin(1)
            nearest = torch.minimum(nearest, (chunk - members[index]).square().sum(1))
        found[start : start + QUERIES_A_CHUNK] = nearest.sqrt()
    return found
