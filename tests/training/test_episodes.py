"""MAML against numbers by hand, against plain autograd, and on sine waves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.func import functional_call

from anomalabel.errors import Cancelled, ConfigError
from anomalabel.training.episodes import (
    Episode,
    EpisodicTraining,
    adapt,
    meta_train,
    parameters_of,
    query_losses,
)

Points = tuple[Tensor, Tensor]


class Number(nn.Module):
    """One number to learn, beside one that is frozen."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.tensor(7.0), requires_grad=False)


def parabola(parameters: Mapping[str, Tensor], target: float) -> Tensor:
    return (parameters["theta"] - target) ** 2 / 2


def untold(done: int, total: int) -> None:
    """Nobody watches."""


def always(episode: Episode[float]):
    return lambda generator: episode


def one_outer_step(episode: Episode[float], **settings) -> float:
    plain = EpisodicTraining(steps=1, tasks=1, optimiser="descent", outer_rate=0.1, inner_rate=0.25, **settings)
    return meta_train(Number(0.0), always(episode), parabola, plain, np.random.default_rng(0), untold)["theta"].item()


def test_one_adaptation_step_by_hand() -> None:
    # theta' = 0 - 1/4 (0 - 4) = 1; dL_Q/dtheta = (theta' - 2)(1 - 1/4) = -3/4; theta = 0 + 1/10 * 3/4
    assert one_outer_step(Episode(4.0, 2.0), inner_steps=1) == pytest.approx(0.075, abs=1e-12)


def test_without_second_derivatives_by_hand() -> None:
    # The factor 1 - alpha of the adaptation is taken as 1.
    assert one_outer_step(Episode(4.0, 2.0), inner_steps=1, first_order=True) == pytest.approx(0.1, abs=1e-12)


def test_three_adaptation_steps_by_hand() -> None:
    # theta' = 4 - 4 * (3/4)^3 = 37/16; gradient (37/16 - 2) * (3/4)^3
    expected = -0.1 * (5 / 16) * (27 / 64)
    assert one_outer_step(Episode(4.0, 2.0), inner_steps=3) == pytest.approx(expected, abs=1e-12)


def test_the_gradients_of_the_tasks_are_summed() -> None:
    targets = iter([1.0, 2.0, 5.0])
    settings = EpisodicTraining(
        steps=1, tasks=3, optimiser="descent", outer_rate=0.1, inner_rate=0.5, inner_steps=1, first_order=False
    )

    def task(generator: np.random.Generator) -> Episode[float]:
        target = next(targets)
        return Episode(target, target)

    start = meta_train(Number(0.0), task, parabola, settings, np.random.default_rng(0), untold)
    # Each task: theta' = t / 2, gradient (t / 2 - t) / 2 = -t / 4.
    assert start["theta"].item() == pytest.approx(0.1 * 8 / 4, abs=1e-12)


def test_the_start_settles_where_adaptation_does_best() -> None:
    """With tasks at 0 and 10 in equal number and quadratic losses, the best start is their mean."""
    settings = EpisodicTraining(
        steps=150, tasks=2, optimiser="adam", outer_rate=0.1, inner_rate=0.5, inner_steps=1, first_order=False
    )
    order = iter([0.0, 10.0] * 150)

    def task(generator: np.random.Generator) -> Episode[float]:
        target = next(order)
        return Episode(target, target)

    start = meta_train(Number(1.0), task, parabola, settings, np.random.default_rng(0), untold)
    assert start["theta"].item() == pytest.approx(5, abs=0.05)
    assert set(start) == {"theta"}


class Attention(nn.Module):
    """A head with fused attention, which has no second derivative of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 18)
        self.out = nn.Linear(6, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.mix(tokens).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


def points(generator: torch.Generator) -> Points:
    return torch.randn(2, 5, 6, generator=generator), torch.randint(0, 2, (2, 5), generator=generator)


@pytest.mark.parametrize("first_order", [False, True])
def test_gradients_are_those_of_plain_autograd(first_order: bool) -> None:
    torch.manual_seed(0)
    module, draws = Attention(), torch.Generator().manual_seed(1)
    episodes = [Episode(points(draws), points(draws)) for _ in range(3)]

    def loss(parameters: Mapping[str, Tensor], batch: Points) -> Tensor:
        logits = functional_call(module, dict(parameters), (batch[0],))
        return functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten())

    names = [name for name, _ in module.named_parameters()]
    before = [value.detach().clone() for value in module.parameters()]
    theta = [value.clone().requires_grad_() for value in before]
    total = [torch.zeros_like(value) for value in theta]
    for episode in episodes:
        adapted = theta
        for _ in range(2):
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                support = loss(dict(zip(names, adapted, strict=True)), episode.support)
            steps = torch.autograd.grad(support, adapted, create_graph=not first_order)
            adapted = [value - 0.4 * step for value, step in zip(adapted, steps, strict=True)]
        query = loss(dict(zip(names, adapted, strict=True)), episode.query)
        for sum_, part in zip(total, torch.autograd.grad(query, theta), strict=True):
            sum_ += part

    order = iter(episodes)
    settings = EpisodicTraining(
        steps=1, tasks=3, inner_rate=0.4, inner_steps=2, outer_rate=1.0, optimiser="descent", first_order=first_order
    )
    start = meta_train(module, lambda _: next(order), loss, settings, np.random.default_rng(0), untold)
    for name, value, gradient in zip(names, before, total, strict=True):
        torch.testing.assert_close(start[name], value - gradient, rtol=1e-4, atol=1e-6)
        assert not start[name].requires_grad
    for value, kept in zip(module.parameters(), before, strict=True):
        torch.testing.assert_close(value.detach(), kept, rtol=0, atol=0)


def sine_network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def sine(generator: np.random.Generator) -> Episode[Points]:
    """Ten points of a wave of random height and phase to adapt to, fifty others to be judged on."""
    height, phase = generator.uniform(0.5, 3), generator.uniform(0, math.pi)
    places = torch.from_numpy(generator.uniform(-4, 4, (60, 1))).float()
    values = height * torch.sin(places + phase)
    return Episode((places[:10], values[:10]), (places[10:], values[10:]))


def test_a_learned_start_reaches_new_waves_sooner_than_a_random_one() -> None:
    network = sine_network()

    def loss(parameters: Mapping[str, Tensor], batch: Points) -> Tensor:
        return functional.mse_loss(functional_call(network, dict(parameters), (batch[0],)), batch[1])

    settings = EpisodicTraining(steps=150, tasks=3, inner_rate=0.05, inner_steps=2, outer_rate=1e-2)
    start = meta_train(network, sine, loss, settings, np.random.default_rng(0), untold)
    fresh = np.random.default_rng(99)
    tasks = [sine(fresh) for _ in range(15)]

    def course(parameters: Mapping[str, Tensor], rate: float) -> list[float]:
        return np.mean([query_losses(parameters, task, loss, rate, 10) for task in tasks], axis=0).tolist()

    learned, scratch = course(start, 0.05), [course(parameters_of(network), rate) for rate in (0.01, 0.03, 0.1)]
    assert learned[5] < 0.25 * min(losses[5] for losses in scratch)
    assert learned[2] < 0.5 * min(losses[10] for losses in scratch)
    assert learned[5] < 0.25 * learned[0], "it is adaptation that brings it there"


def test_the_same_seed_draws_the_same_tasks() -> None:
    network = sine_network()

    def loss(parameters: Mapping[str, Tensor], batch: Points) -> Tensor:
        return functional.mse_loss(functional_call(network, dict(parameters), (batch[0],)), batch[1])

    def run(seed: int) -> Tensor:
        settings = EpisodicTraining(steps=2, tasks=2)
        return meta_train(network, sine, loss, settings, np.random.default_rng(seed), untold)["0.weight"]

    torch.testing.assert_close(run(5), run(5), rtol=0, atol=0)
    assert not torch.equal(run(5), run(6))


def test_adapting_by_hand_leaves_the_start_alone() -> None:
    start = {"theta": nn.Parameter(torch.tensor(0.0))}
    adapted = adapt(start, 4.0, parabola, rate=0.25, steps=2)
    assert adapted["theta"].item() == pytest.approx(1.75)
    assert not adapted["theta"].requires_grad
    assert start["theta"].item() == 0
    assert start["theta"].grad is None
    assert adapt(start, 4.0, parabola, rate=0.25, steps=0)["theta"].item() == 0


def test_losses_on_the_query_by_hand() -> None:
    losses = query_losses({"theta": torch.tensor(0.0)}, Episode(4.0, 2.0), parabola, rate=0.5, steps=2)
    # theta: 0, 2, 3
    assert losses == pytest.approx((2.0, 0.0, 0.5))


def test_progress_is_told_and_may_stop_the_work() -> None:
    told: list[tuple[int, int]] = []

    def stop_after_two(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise Cancelled

    module = Number(3.0)
    episode = Episode(4.0, 2.0)
    settings = EpisodicTraining(steps=5)
    with pytest.raises(Cancelled):
        meta_train(module, always(episode), parabola, settings, np.random.default_rng(0), stop_after_two)
    assert told == [(0, 5), (1, 5), (2, 5)]
    assert module.theta.item() == 3


def test_divergence_is_said() -> None:
    settings = EpisodicTraining(steps=400, inner_rate=50.0, inner_steps=5, outer_rate=1e3, optimiser="descent")
    with pytest.raises(ConfigError, match=r"diverged in outer step \d+.*inner_rate"):
        meta_train(Number(1.0), always(Episode(4.0, 2.0)), parabola, settings, np.random.default_rng(0), untold)
