"""The search in bfloat16 against the slow one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.localization import nearest
from anomalabel.localization.nearest import HalfPrecisionSearch


def slow_nearest(queries: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    differences = queries.double()[:, None] - bank.double()[None]
    return differences.square().sum(2).sqrt().amin(1)


@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(1, 300), st.integers(1, 40), st.floats(-100, 100))
@settings(max_examples=50, deadline=None)
def test_distances_are_never_too_small_and_hardly_too_large(seed, count, members, channels, offset):
    generator = torch.Generator().manual_seed(seed)
    queries = offset + torch.randn(count, channels, generator=generator)
    bank = offset + torch.randn(members, channels, generator=generator)
    found, true = HalfPrecisionSearch(bank).distances(queries).double(), slow_nearest(queries, bank)
    assert found.shape == (count,)
    assert (found >= true - 1e-4).all()
    assert (found <= 1.005 * true + 1e-2 * channels**0.5).all()


def test_unit_vectors_as_in_a_bank_have_their_true_neighbours():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 96, generator=generator)
    kinds = torch.randint(20, (5196,), generator=generator)
    vectors = torch.nn.functional.normalize(centres[kinds] + 0.5 * torch.randn(5196, 96, generator=generator), dim=1)
    queries, bank = vectors[:196], vectors[196:]
    torch.testing.assert_close(
        HalfPrecisionSearch(bank).distances(queries).double(), slow_nearest(queries, bank), rtol=1e-5, atol=1e-6
    )


def test_a_member_of_the_bank_is_at_distance_zero_even_far_from_the_origin():
    bank = 1000 + torch.randn(300, 16, generator=torch.Generator().manual_seed(3))
    assert HalfPrecisionSearch(bank).distances(bank[100:120]).tolist() == [0.0] * 20


@pytest.mark.parametrize("queries_a_chunk", [1, 7, 50])
def test_chunks_change_nothing(monkeypatch, queries_a_chunk):
    queries = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    search = HalfPrecisionSearch(torch.randn(80, 6, generator=torch.Generator().manual_seed(2)))
    whole = search.distances(queries)
    monkeypatch.setattr(nearest, "QUERIES_A_CHUNK", queries_a_chunk)
    torch.testing.assert_close(search.distances(queries), whole, rtol=1e-6, atol=1e-6)
