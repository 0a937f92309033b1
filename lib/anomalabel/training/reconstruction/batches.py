"""Which slices a step learns from, and how they are changed and hidden.

All of an epoch is drawn before its first step, from the seed and the epoch's number alone, so that neither an
interruption nor the number of processes changes what is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anomalabel.config import AugmentationSettings
from anomalabel.reconstruction.mosaic import hide
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices

CHANGES = 4
"""Random numbers a draw: mirrored along columns, along rows, brightness, contrast."""

UNCHANGED = AugmentationSettings(intensity_jitter=0.0)


@dataclass(frozen=True)
class Draws:
    """What is drawn for a batch, or for one process's part of it.

    Args:
        numbers: (n,) int64, of the slices; n may be 0 in a part.
        changes: (n, CHANGES) in [0, 1), how each is changed.
        block: side of the mosaic's blocks, pixels; None where nothing is hidden.
    """

    numbers: Tensor
    changes: Tensor
    block: int | None

    def part(self, processes: Processes) -> Draws:
        """Every `world`-th draw: this process's own."""
        own = slice(processes.rank, None, processes.world)
        return Draws(self.numbers[own], self.changes[own], self.block)


@dataclass(frozen=True)
class Batch:
    """What the network is shown and should restore.

    Args:
        images: (n, 1, s, s) float32 in [0, 1].
        shown: (n, 1, s, s) float32, the same with the suspected region hidden.
        inside: (n, 1, s, s) bool, the field of view.
        names: of the slices' images.
    """

    images: Tensor
    shown: Tensor
    inside: Tensor
    names: tuple[str, ...]


def draw_epoch(
    count: int, samples: int, batch_size: int, blocks: Sequence[int | None], seed: int, epoch: int
) -> list[Draws]:
    """The batches of an epoch, of all processes together.

    Args:
        count: slices to draw from, with replacement, each with the same chance.
        samples: to be drawn; the last batch holds what is left.
        batch_size: of the others.
        blocks: of which each batch draws one.
        seed, epoch: all that the draws depend on.
    """
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint32)
    generator = torch.Generator().manual_seed(int(mixed[0]) << 31 ^ int(mixed[1]))
    numbers = torch.randint(count, (samples,), generator=generator).split(batch_size)
    changes = torch.rand(samples, CHANGES, generator=generator).split(batch_size)
    drawn = torch.randint(len(blocks), (len(numbers),), generator=generator).tolist()
    return [Draws(own, change, blocks[block]) for own, change, block in zip(numbers, changes, drawn, strict=True)]


def make_batch(slices: HealthySlices, draws: Draws, augmentation: AugmentationSettings, device: torch.device) -> Batch:
    """Gather, change and hide slices; image, region and field of view are mirrored alike.

    Turning and bending are left out: they cost more than the network's own step on small machines.

    Args:
        slices: on any device.
        draws: at least one.
        augmentation: `UNCHANGED` for the slices as they are.
        device: of the batch.
    """
    chosen = slices.of(draws.numbers).to(device)
    images, hidden, inside = chosen.images[:, None].float(), chosen.hidden, chosen.inside[:, None]
    changes = draws.changes
    for allowed, change, axis in (
        (augmentation.mirror_left_right, changes[:, 0], -1),
        (augmentation.mirror_up_down, changes[:, 1], -2),
    ):
        turned = (change < 0.5).nonzero()[:, 0].to(device) if allowed else None
        if turned is not None:
            for part in (images, hidden, inside):
                part[turned] = part[turned].flip(axis)
    if augmentation.intensity_jitter > 0:
        gain, exponent = _contrast(changes[:, 2:].to(device), augmentation.intensity_jitter)
        images = images.pow_(exponent).mul_(gain).clamp_(0, 1)
    shown = images if draws.block is None else hide(images, hidden, draws.block)
    return Batch(images, shown, inside, chosen.names)


def _contrast(changes: Tensor, jitter: float) -> tuple[Tensor, Tensor]:
    """Factor in 1 +- jitter and exponent in 2^(+- jitter), each (n, 1, 1, 1)."""
    sway = (2 * changes - 1) * jitter
    return (1 + sway[:, 0]).view(-1, 1, 1, 1), (2 ** sway[:, 1]).view(-1, 1, 1, 1)
