"""Healthy images as the U-Net learns from them: slices in memory, told apart into learned-from and held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomalabel.config import AnatomyConfig
from anomalabel.errors import ConfigError
from anomalabel.localization.patch_features import CutSlice, PatchStore
from anomalabel.reconstruction.region import suspected_regions
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps
from anomalabel.reconstruction.slices import restorable_slice
from anomalabel.training.reconstruction.epochs import Watch
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.volume import FloatArray

FEWEST_IMAGES = 8
"""Four to learn from and four to be judged."""

FEWEST_HELD_OUT = 4

LOOKING = "looking where to hide"
"""The stage in which saliency is computed, as it is told to who watches."""

GOOD_NUMBER = 50
"""Healthy images below which results are said to be unreliable."""


@dataclass(frozen=True)
class HealthyCuts:
    """The slices of a healthy image that may be learned from, at least one, and what messages call it."""

    name: str
    slices: Sequence[CutSlice]


@dataclass(frozen=True)
class Material:
    """What a training learns from.

    Args:
        learnt: slices to learn from.
        held_out: slices that choose the epoch and set level and thresholds.
        owners: of each held-out slice, the number of its image, from 0.
        warnings: what a reader of results should know.
    """

    learnt: HealthySlices
    held_out: HealthySlices
    owners: tuple[int, ...]
    warnings: tuple[str, ...]


def held_out_count(images: int, share: float) -> int:
    """How many of the healthy images are not learned from.

    Raises:
        ConfigError: there are too few images for both.
    """
    if images < FEWEST_IMAGES:
        raise ConfigError(
            f"Reconstruction needs {FEWEST_IMAGES} healthy images, {images} came.",
            f"Give at least {FEWEST_IMAGES}, better {GOOD_NUMBER}; few-shot localization learns from fewer.",
        )
    return max(round(share * images), FEWEST_HELD_OUT)


def gather_material(
    sources: Sequence[Callable[[], HealthyCuts]],
    saliency: SaliencySources,
    config: AnatomyConfig,
    store: PatchStore | None,
    watch: Watch,
) -> Material:
    """Cut the slices of healthy images, and compute the saliency of each once; what the store holds is not computed.

    Several processes share the work: each takes every `world`-th image, and all end with all slices.

    Args:
        sources: give the slices of each healthy image, cut when they are asked for; in the random order in which the
            images were drawn, since the last ones are held out.
        store: keeps saliency.
        watch: told slices done; may raise Cancelled.

    Raises:
        ConfigError: fewer images than `FEWEST_IMAGES`.
        ModelError: a saliency source answers with NaN or infinity.
    """
    held_out = held_out_count(len(sources), config.reconstruction.training.held_out)
    processes = Processes.here()
    own = range(processes.rank, len(sources), processes.world)
    parts = dict(zip(own, _slices_of(own, sources, saliency, config, store, watch), strict=True))
    every = {number: part for some in processes.gather(parts) for number, part in some.items()}
    first_held_out = len(sources) - held_out
    judged = [every[number] for number in range(first_held_out, len(sources))]
    owners = tuple(number for number, one in enumerate(judged) for _ in one.names)
    return Material(
        _joined([every[number] for number in range(first_held_out)]), _joined(judged), owners, _warnings(len(sources))
    )


def _slices_of(
    numbers: Sequence[int],
    sources: Sequence[Callable[[], HealthyCuts]],
    saliency: SaliencySources,
    config: AnatomyConfig,
    store: PatchStore | None,
    watch: Watch,
) -> list[HealthySlices]:
    """Of each image; cut a few images at a time, so that whole volumes do not wait in memory."""
    size = config.reconstruction.batch_size
    found: list[HealthySlices] = []
    waiting: list[HealthyCuts] = []

    def take() -> None:
        cuts = [cut for image in waiting for cut in image.slices]
        maps = iter(saliency_maps(saliency, config.preprocessing, cuts, store, size))
        found.extend(_healthy_slices(image, [next(maps) for _ in image.slices], config) for image in waiting)
        waiting.clear()

    for done, number in enumerate(numbers):
        watch(LOOKING, done, len(numbers))
        waiting.append(sources[number]())
        if sum(len(image.slices) for image in waiting) >= size:
            take()
    take()
    watch(LOOKING, len(numbers), len(numbers))
    return found


def _healthy_slices(image: HealthyCuts, maps: Sequence[FloatArray], config: AnatomyConfig) -> HealthySlices:
    settings = config.reconstruction
    slices = [
        restorable_slice(cut, one, settings, config.preprocessing) for cut, one in zip(image.slices, maps, strict=True)
    ]
    inside = torch.from_numpy(np.stack([one.inside for one in slices]))
    saliency = torch.from_numpy(np.stack([one.saliency for one in slices]))
    hidden = suspected_regions(saliency, inside, settings.mosaic.threshold_sd)
    images = torch.from_numpy(np.stack([one.image for one in slices])).clamp_(0, 1).half()
    return HealthySlices(images, hidden, inside, (image.name,) * len(slices))


def _joined(parts: Sequence[HealthySlices]) -> HealthySlices:
    return HealthySlices(
        torch.cat([one.images for one in parts]),
        torch.cat([one.hidden for one in parts]),
        torch.cat([one.inside for one in parts]),
        tuple(name for one in parts for name in one.names),
    )


def _warnings(images: int) -> tuple[str, ...]:
    if images >= GOOD_NUMBER:
        return ()
    return (
        f"Learned from {images} healthy images; with fewer than {GOOD_NUMBER} much that is healthy is restored badly "
        "and lights up, and the thresholds rest on few images.",
    )
