"""Learns a start from many small tasks, from which few steps lead to a new one (section 4.6.1, eq. 11).

This is model-agnostic meta-learning (MAML; Finn, Abbeel and Levine 2017). For each task theta' = theta - alpha grad
L_S(f_theta) on its support, and theta <- theta - beta sum over tasks of grad L_Q(f_theta') on its query. The gradient
goes through the adaptation, second derivatives included, unless `first_order` leaves them out.

Tasks go through one after the other and their gradients are summed, so memory does not grow with tasks a step. Taking
them together (vmap) is no faster: on cached features one task keeps a processor busy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import grad, grad_and_value
from torch.nn.attention import SDPBackend, sdpa_kernel

from anomalabel.config import Settings
from anomalabel.errors import ConfigError

Batch = TypeVar("Batch")

Parameters = dict[str, Tensor]
"""Tensors by their names in a module."""

Loss = Callable[[Mapping[str, Tensor], Batch], Tensor]
"""() loss of parameters on a batch, by `torch.func.functional_call`; the same for the same arguments (no dropout)."""

Progress = Callable[[int, int], None]
"""Called with outer steps done and outer steps in all; may raise Cancelled."""

OPTIMISERS: dict[str, type[torch.optim.SGD] | type[torch.optim.Adam]] = {
    "descent": torch.optim.SGD,
    "adam": torch.optim.Adam,
}


@dataclass(frozen=True)
class Episode(Generic[Batch]):
    """One task: what the parameters adapt to, and what they are judged on afterwards."""

    support: Batch
    query: Batch


class EpisodicTraining(Settings):
    """How a start is learned (eq. 11)."""

    steps: int = Field(default=300, ge=1, description="outer steps, E of the algorithm")
    tasks: int = Field(default=4, ge=1, description="tasks an outer step")
    inner_rate: float = Field(default=0.05, gt=0, description="alpha")
    inner_steps: int = Field(default=1, ge=1, description="adaptation steps on the support; each costs as much")
    outer_rate: float = Field(default=1e-3, gt=0, description="beta")
    optimiser: Literal["adam", "descent"] = Field(
        default="adam", description="of the outer step; descent is the paper's own, the sum over tasks times beta"
    )
    first_order: bool = Field(default=False, description="leaves second derivatives out: faster, less exact")


def parameters_of(module: nn.Module) -> Parameters:
    """Copies of the parameters that a module learns, in its own order."""
    return {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}


def adapt(parameters: Mapping[str, Tensor], support: Batch, loss: Loss[Batch], rate: float, steps: int) -> Parameters:
    """Plain descent from a start on one task's support: what is done when a new anatomy arrives.

    Args:
        parameters: the start; left as it is.
        support: what `loss` takes.
        rate: alpha of eq. 11, best the one the start was learned with.
        steps: 0 gives the start back.

    Returns:
        New tensors without gradients.
    """
    start = {name: value.detach().clone() for name, value in parameters.items()}
    return _descend(start, support, loss, rate, steps, first_order=True)


def query_losses(
    parameters: Mapping[str, Tensor], episode: Episode[Batch], loss: Loss[Batch], rate: float, steps: int
) -> tuple[float, ...]:
    """Loss on an episode's query before adaptation and after each of `steps` steps on its support."""
    current = adapt(parameters, episode.support, loss, rate, 0)
    losses = []
    for step in range(steps + 1):
        with torch.no_grad():
            losses.append(float(loss(current, episode.query)))
        if step < steps:
            current = adapt(current, episode.support, loss, rate, 1)
    return tuple(losses)


def meta_train(
    module: nn.Module,
    sample_task: Callable[[np.random.Generator], Episode[Batch]],
    loss: Loss[Batch],
    settings: EpisodicTraining,
    generator: np.random.Generator,
    progress: Progress,
) -> Parameters:
    """Learn the start theta of eq. 11, beginning at a module's own parameters.

    Args:
        module: left as it is; on any device.
        sample_task: draws a task.
        loss: of the module; in double precision it is as exact as its arguments.
        generator: of the tasks.
        progress: called before the first outer step and after each.

    Returns:
        The parameters that the module learns, by name, without gradients.

    Raises:
        ConfigError: the loss or its gradient is no longer finite.
    """
    start = parameters_of(module)
    optimiser = OPTIMISERS[settings.optimiser](list(start.values()), lr=settings.outer_rate)
    progress(0, settings.steps)
    for step in range(settings.steps):
        total = {name: torch.zeros_like(value) for name, value in start.items()}
        for _ in range(settings.tasks):
            gradients, value = _task_gradient(start, sample_task(generator), loss, settings)
            if not all(torch.isfinite(part).all() for part in (value, *gradients.values())):
                raise ConfigError(
                    f"Episodic learning diverged in outer step {step + 1}: its loss is {float(value)}.",
                    "Lower inner_rate or outer_rate, or take fewer inner_steps.",
                )
            for name, gradient in gradients.items():
                total[name] += gradient
        for name, value in start.items():
            value.grad = total[name]
        optimiser.step()
        progress(step + 1, settings.steps)
    return {name: value.detach() for name, value in start.items()}


def _task_gradient(
    start: Parameters, episode: Episode[Batch], loss: Loss[Batch], settings: EpisodicTraining
) -> tuple[Parameters, Tensor]:
    """Gradient of L_Q(f_theta') in theta, and the loss itself."""

    def judged(parameters: Parameters) -> Tensor:
        first = settings.first_order
        adapted = _descend(parameters, episode.support, loss, settings.inner_rate, settings.inner_steps, first)
        return loss(adapted, episode.query)

    # Fused attention has no second derivative.
    with nullcontext() if settings.first_order else sdpa_kernel(SDPBackend.MATH):
        return grad_and_value(judged)(start)


def _descend(
    parameters: Parameters, support: Batch, loss: Loss[Batch], rate: float, steps: int, first_order: bool
) -> Parameters:
    """theta - alpha grad L_S, `steps` times; with `first_order` the gradient counts as a constant."""
    for _ in range(steps):
        gradients = grad(loss)(parameters, support)
        parameters = {
            name: value - rate * (gradients[name].detach() if first_order else gradients[name])
            for name, value in parameters.items()
        }
    return parameters
