"""Which sentences are drawn as pairs, and the loss by which they find each other."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional

from anomalabel.training.report_pairs import ReportPairs, pair_loss


def test_the_pair_loss_is_what_a_plain_loop_says() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (functional.normalize(torch.randn(4, 3, generator=generator), dim=-1) for _ in range(2))
    shared = torch.zeros(4, 4, dtype=torch.bool)
    shared[0, 2] = shared[1, 1] = shared[3, 0] = True
    expected = []
    for rows, columns, masked in ((one, other, shared), (other, one, shared.T)):
        for i in range(4):
            weights = [math.exp(5 * float(rows[i] @ columns[j])) for j in range(4) if j == i or not masked[i, j]]
            expected.append(-math.log(math.exp(5 * float(rows[i] @ columns[i])) / sum(weights)))
    assert float(pair_loss(one, other, shared, 5.0)) == pytest.approx(sum(expected) / 8, rel=1e-5)


def test_pairs_are_two_sentences_of_the_report_each_as_often() -> None:
    pairs = ReportPairs([(3, 5), (0, 4, 7), (5, 1)])
    generator = torch.Generator().manual_seed(0)
    counts: dict[tuple[int, int], int] = {}
    for _ in range(3000):
        one, other = pairs.draw(torch.tensor([1]), generator)
        counts[int(one), int(other)] = counts.get((int(one), int(other)), 0) + 1
    assert set(counts) == {(a, b) for a in (0, 4, 7) for b in (0, 4, 7) if a != b}
    assert all(abs(count - 500) < 100 for count in counts.values())
    stands = pairs.stands_in(torch.tensor([0, 1, 2]), torch.tensor([5, 7, 3, 6]))
    assert stands.tolist() == [[True, False, True, False], [False, True, False, False], [True, False, False, False]]
