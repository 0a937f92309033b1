"""One step of learning, and the judging of held-out slices, alone or as one of several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anomalabel.backbones.device import choose_dtype
from anomalabel.config import AugmentationSettings, ReconstructionSettings
from anomalabel.training.reconstruction.batches import UNCHANGED, Batch, Draws, make_batch
from anomalabel.training.reconstruction.objective import objective
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices

Losses = dict[str, float]
TOTAL = "total"
"""Name of the sum of all losses."""

SUSPICIONS = 3
"""Kinds of suspects, the surest first."""


class NotFiniteError(Exception):
    """A loss or its gradient is NaN or infinite; the weights are as before.

    Args:
        names: of the images at which it is.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(sorted(set(names)))
        super().__init__(", ".join(self.names))


@dataclass(frozen=True)
class Learner:
    """Teaches a network on one device, together with its copies in other processes.

    Each process takes its part of a batch, and all take the same step, by the gradient of the whole batch: what is
    learned depends on the number of processes by rounding alone.

    Args:
        network: the same weights in each process.
        optimiser: of its parameters, the same in each process.
        settings: losses.
        device: where the network is.
        processes: that learn together.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    settings: ReconstructionSettings
    device: torch.device
    processes: Processes

    def learn(self, slices: HealthySlices, draws: Draws, augmentation: AugmentationSettings, rate: float) -> Tensor:
        """Take one step.

        Args:
            slices: to learn from.
            draws: of the whole batch, the same in each process.
            augmentation: of what is drawn.
            rate: the learning rate.

        Returns:
            (losses,) sums over this process's images, on the device; 0 where no image is left for it.

        Raises:
            NotFiniteError: in each process; no step was taken.
        """
        own = draws.part(self.processes)
        self.optimiser.zero_grad(set_to_none=True)
        batch, losses = None, torch.zeros(len(self.loss_names), 0, device=self.device)
        if len(own.numbers):
            batch = make_batch(slices, own, augmentation, self.device)
            losses = self._losses(batch)
            (losses.sum() / len(draws.numbers)).backward()
        losses = losses.detach()
        # A gradient can leave the finite numbers before its loss does.
        if not bool(torch.isfinite(self._agree(losses.sum()))):
            raise self._not_finite([] if batch is None else [(batch, losses)])
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return losses.sum(1)

    def judge(self, slices: HealthySlices, batches: Iterable[Draws]) -> Losses:
        """Mean losses of slices as they are.

        Args:
            slices: held out.
            batches: of all processes together.

        Raises:
            NotFiniteError: in each process, with the first batch.
        """
        sums, count = torch.zeros(len(self.loss_names), device=self.device), 0
        self.network.eval()
        for draws in batches:
            own = draws.part(self.processes)
            broken: list[tuple[Batch, Tensor]] = []
            if len(own.numbers):
                batch = make_batch(slices, own, UNCHANGED, self.device)
                with torch.no_grad():
                    losses = self._losses(batch)
                sums += losses.sum(1)
                if not bool(torch.isfinite(losses).all()):
                    broken.append((batch, losses))
            count += len(draws.numbers)
            if bool(self.processes.sum_up(torch.tensor(len(broken)))):
                raise self._not_finite(broken)
        self.network.train()
        return self.means(sums, count)

    def means(self, sums: Tensor, count: int) -> Losses:
        """Losses by name, their sum first.

        Args:
            sums: (losses,) of this process.
            count: images of all processes.
        """
        values = (self.processes.sum_up(sums) / count).tolist()
        return {TOTAL: sum(values), **dict(zip(self.loss_names, values, strict=True))}

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Of the losses that count, in the order of `learn`."""
        return tuple(name for name, weight in self.settings.losses if weight > 0)

    def _losses(self, batch: Batch) -> Tensor:
        """(losses, n), with a gradient."""
        dtype = choose_dtype(self.device, "auto")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            restored = self.network(batch.shown)
        losses = objective(restored, batch.images, batch.inside, self.settings.losses, self.settings.similarity)
        return torch.stack([losses[name] for name in self.loss_names])

    def _agree(self, loss: Tensor) -> Tensor:
        """Sum up all processes' gradients; what comes back is finite if the loss and the gradients of each are."""
        gradients = []
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        if self.processes.world > 1:
            flat = torch.cat([loss.view(1), *(one.flatten() for one in gradients)])
            loss, *summed = self.processes.sum_up(flat).split([1, *(one.numel() for one in gradients)])
            for gradient, values in zip(gradients, summed, strict=True):
                gradient.copy_(values.view(gradient.shape))
        return loss.sum() + torch.stack(torch._foreach_norm(gradients)).sum()

    def _not_finite(self, own: list[tuple[Batch, Tensor]]) -> NotFiniteError:
        """Names the damaged images of all processes' batches; else those with a loss that is not finite; else all."""
        gathered = self.processes.gather([suspects(batch, losses) for batch, losses in own])
        batches = [one for each in gathered for one in each]
        ranked = ([name for one in batches for name in one[kind]] for kind in range(SUSPICIONS))
        return NotFiniteError(next(names for names in ranked if names))


def suspects(batch: Batch, losses: Tensor) -> tuple[list[str], ...]:
    """Names of the images of a batch: of those that are damaged, those with a loss that is not finite, and all.

    Args:
        batch: n slices.
        losses: (losses, n).
    """
    damaged = ~torch.isfinite(batch.images.flatten(1)).all(1)
    spoilt = ~torch.isfinite(losses).all(0)
    found = (damaged, spoilt, torch.ones_like(spoilt))
    return tuple([name for name, is_one in zip(batch.names, one.tolist(), strict=True) if is_one] for one in found)
