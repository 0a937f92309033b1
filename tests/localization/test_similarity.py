"""Patches against texts: hand-computed cosines, class vectors, probabilities and losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from anomalabel.localization.similarity import (
    abnormal_probability,
    alignment_loss,
    class_vector,
    cosine_similarity,
    distance_to_healthy,
)

HEALTHY = torch.tensor([[2.0, 0.0]])
DISEASED = torch.tensor([[0.0, 5.0]])
PATCHES = torch.tensor([[[3.0, 0.0], [0.0, 0.1], [4.0, 4.0], [0.6, -0.8]]])


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_are_those_of_the_angles_whatever_the_lengths():
    texts = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 1.0]])
    half = math.sqrt(0.5)
    expected = [[1, 0, -half], [0, 1, half], [half, half, 0], [0.6, -0.8, -1.4 * half]]
    torch.testing.assert_close(cosine_similarity(PATCHES, texts), torch.tensor([expected]))


def test_a_patch_of_zeros_is_like_nothing_and_has_a_gradient():
    patch = torch.zeros(1, 1, 2, requires_grad=True)
    similarity = cosine_similarity(patch, HEALTHY)
    assert similarity.item() == 0
    similarity.sum().backward()
    assert torch.isfinite(patch.grad).all()


def test_the_nearest_healthy_text_counts():
    similarity = torch.tensor([[[0.2, 0.9, -1.0], [-0.5, -0.6, -0.7]]])
    torch.testing.assert_close(distance_to_healthy(similarity), torch.tensor([[0.1, 1.5]]))


def test_a_class_vector_is_the_normalised_mean_of_unit_vectors():
    half = math.sqrt(0.5)
    torch.testing.assert_close(class_vector(torch.tensor([[9.0, 0.0], [0.0, 0.1]])), torch.tensor([half, half]))


def test_probabilities_by_hand():
    found = abnormal_probability(PATCHES, HEALTHY, DISEASED, temperature=0.5)
    expected = [1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2)), 0.5, 1 / (1 + math.exp(2 * 1.4))]
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_a_class_does_not_gain_by_having_more_texts():
    patches, healthy, diseased = random(0, 2, 5, 8), random(1, 3, 8), random(2, 2, 8)
    once = abnormal_probability(patches, healthy, diseased, 0.1)
    many = abnormal_probability(patches, healthy, diseased.repeat(7, 1), 0.1)
    torch.testing.assert_close(once, many)


def slow_loss(patches, healthy, diseased, place, temperature) -> float:
    """The loss patch by patch."""

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    classes = [unit(np.mean([unit(text) for text in texts.double().numpy()], 0)) for texts in (healthy, diseased)]
    sums, masses = [0.0, 0.0], [0.0, 0.0]
    for vectors, shares in zip(patches.double().numpy(), place.double().numpy(), strict=True):
        for vector, share in zip(vectors, shares, strict=True):
            if np.isnan(share):
                continue
            exponentials = [np.exp(unit(vector) @ one / temperature) for one in classes]
            for number, weight in enumerate((1 - share, share)):
                sums[number] -= weight * np.log(exponentials[number] / sum(exponentials))
                masses[number] += weight
    return sum(total / max(mass, 1) for total, mass in zip(sums, masses, strict=True)) / 2


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_the_slow_sum(seed):
    patches, healthy, diseased = random(seed, 3, 6, 8), random(seed + 50, 3, 8), random(seed + 99, 2, 8)
    place = torch.rand(3, 6, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    place[0, 2:4] = math.nan
    place[1] = 0
    found = alignment_loss(patches, healthy, diseased, place, 0.3)
    assert found.item() == pytest.approx(slow_loss(patches, healthy, diseased, place, 0.3), rel=1e-5)


def test_rare_anomalous_patches_weigh_as_much_as_all_healthy_ones():
    patches = torch.tensor([[[1.0, 0.0]] * 99 + [[1.0, 0.0]]])
    place = torch.zeros(1, 100)
    place[0, 99] = 1
    # All patches look healthy: one of a hundred is missed, and half of the loss says so.
    missed, right = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    assert alignment_loss(patches, HEALTHY, DISEASED, place, 0.5).item() == pytest.approx((missed + right) / 2)


def test_a_sliver_of_an_anomaly_counts_as_a_sliver():
    patches = torch.tensor([[[1.0, 0.0]] * 4])
    place = torch.tensor([[0.0, 0.0, 0.0, 0.1]])
    missed, right = math.log(1 + math.exp(2)), math.log(1 + math.exp(-2))
    assert alignment_loss(patches, HEALTHY, DISEASED, place, 0.5).item() == pytest.approx((0.1 * missed + right) / 2)


def test_nothing_to_count_is_no_loss_and_no_step():
    patches = random(3, 2, 4, 8).requires_grad_()
    loss = alignment_loss(patches, random(4, 2, 8), random(5, 2, 8), torch.full((2, 4), math.nan), 0.1)
    assert loss.item() == 0
    loss.backward()
    assert (patches.grad == 0).all()


def test_the_loss_moves_counted_patches_alone_and_teaches_them():
    patches = random(6, 2, 4, 8).requires_grad_()
    place = torch.tensor([[1.0, 0.0, math.nan, 0.0], [0.0, 1.0, 0.0, math.nan]])
    healthy, diseased = random(7, 2, 8), random(8, 2, 8)
    optimizer = torch.optim.Adam([patches], 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        alignment_loss(patches, healthy, diseased, place, 0.1).backward()
        assert (patches.grad[torch.isnan(place)] == 0).all()
        optimizer.step()
    probability = abnormal_probability(patches, healthy, diseased, 0.1)
    assert (probability[place == 1] > 0.95).all()
    assert (probability[place == 0] < 0.05).all()
