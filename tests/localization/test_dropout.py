"""Monte Carlo dropout against the plain formulas."""

from __future__ import annotations

import pytest
import torch

from anomalabel.errors import ConfigError
from anomalabel.localization.dropout import batched_dropout_statistics, drop, dropout_statistics


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_remains_is_scaled_so_that_the_mean_stays():
    dropped = drop(torch.full((200, 500), 3.0), 0.25, seeded())
    assert set(dropped.unique().tolist()) == {0.0, 4.0}
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    assert dropped.mean().item() == pytest.approx(3, abs=0.02)


def test_without_dropout_nothing_changes_and_nothing_is_drawn():
    features, generator = torch.randn(4, 5, generator=seeded(1)), seeded(2)
    assert drop(features, 0, generator) is features
    assert torch.equal(generator.get_state(), seeded(2).get_state())


def test_masks_come_from_the_generator_alone():
    features = torch.ones(50)
    torch.manual_seed(1)
    first = drop(features, 0.5, seeded(3))
    torch.manual_seed(2)
    assert torch.equal(drop(features, 0.5, seeded(3)), first)
    assert not torch.equal(drop(features, 0.5, seeded(4)), first)


def test_gradients_pass_where_features_remain():
    features = torch.ones(1000, requires_grad=True)
    dropped = drop(features, 0.5, seeded())
    dropped.sum().backward()
    assert torch.equal(features.grad, dropped.detach())


def test_statistics_by_hand():
    values = iter([1.0, 2.0, 6.0])
    mean, deviation = dropout_statistics(lambda _: torch.tensor([next(values), 5.0]), 3, seeded())
    torch.testing.assert_close(mean, torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(deviation, torch.tensor([(14 / 3) ** 0.5, 0.0]))


def test_a_small_deviation_beside_a_large_mean_is_not_lost():
    draws = 1e4 + torch.rand(40, 30, generator=seeded(5))
    numbers = iter(range(40))
    mean, deviation = dropout_statistics(lambda _: draws[next(numbers)], 40, seeded())
    torch.testing.assert_close(mean.double(), draws.double().mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(deviation.double(), draws.double().std(0, correction=0), rtol=2e-2, atol=0)


def test_one_pass_has_no_deviation():
    mean, deviation = dropout_statistics(lambda generator: torch.rand(5, generator=generator), 1, seeded(6))
    assert torch.equal(mean, torch.rand(5, generator=seeded(6)))
    assert deviation.tolist() == [0] * 5


def test_a_batch_of_passes_is_the_passes_one_by_one():
    features, weights = torch.randn(3, 7, 16, generator=seeded(7)), torch.randn(16, generator=seeded(8))

    def score(vectors: torch.Tensor) -> torch.Tensor:
        return torch.tanh(vectors @ weights)

    single = dropout_statistics(lambda generator: score(drop(features, 0.3, generator)), 12, seeded(9))
    whole = batched_dropout_statistics(score, features, 0.3, 12, seeded(9))
    assert whole[0].shape == (3, 7)
    torch.testing.assert_close(whole[0], single[0])
    torch.testing.assert_close(whole[1], single[1])
    generator = seeded(9)
    draws = torch.stack([score(drop(features, 0.3, generator)) for _ in range(12)]).double()
    torch.testing.assert_close(
        single[1].double(), (draws - draws.mean(0)).square().mean(0).sqrt(), rtol=1e-4, atol=1e-6
    )


def test_the_deviation_is_that_of_the_binomial():
    features = torch.ones(1, 4000, 1)
    mean, deviation = batched_dropout_statistics(lambda vectors: vectors[..., 0], features, 0.2, 400, seeded(10))
    assert mean.mean().item() == pytest.approx(1, abs=0.01)
    assert deviation.mean().item() == pytest.approx(0.5, abs=0.01)


def test_no_pass_is_refused():
    with pytest.raises(ConfigError, match="0 passes"):
        dropout_statistics(lambda _: torch.zeros(1), 0, seeded())
    with pytest.raises(ConfigError, match="-1 passes"):
        batched_dropout_statistics(lambda vectors: vectors, torch.zeros(1, 1), 0.1, -1, seeded())
