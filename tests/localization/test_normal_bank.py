"""The bank of healthy patches against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.config import NormalBankSettings
from anomalabel.errors import ImageReadError
from anomalabel.localization import normal_bank
from anomalabel.localization.normal_bank import NormalBank, nearest_distance, patch_vectors
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.preprocessing.framing import SquareFrame

FRAME = SquareFrame.around((8, 8), (1.0, 1.0), 8)


def patches(seed: int, sizes=((3, 4), (5, 2)), seen=None) -> SlicePatches:
    """Random levels (channels, side)."""
    generator = torch.Generator().manual_seed(seed)
    levels = tuple(torch.randn(channels, side, side, generator=generator) for channels, side in sizes)
    finest = max(side for _, side in sizes)
    return SlicePatches(FRAME, np.ones((finest, finest), dtype=bool) if seen is None else seen, levels)


def slow_nearest(queries: np.ndarray, bank: np.ndarray) -> np.ndarray:
    return np.array([min(np.sqrt(((query - member) ** 2).sum()) for member in bank) for query in queries])


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_nearest_distances_are_those_of_the_slow_search(seed, count, members, channels):
    generator = np.random.default_rng(seed)
    queries = (5 + generator.standard_normal((count, channels))).astype(np.float32)
    bank = (5 + generator.standard_normal((members, channels))).astype(np.float32)
    found = nearest_distance(torch.from_numpy(queries), torch.from_numpy(bank)).numpy()
    np.testing.assert_allclose(found, slow_nearest(queries, bank), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("queries_a_chunk", "bank_a_chunk"), [(1, 1), (7, 3), (1000, 10), (5, 1000)])
def test_chunks_change_nothing(monkeypatch, queries_a_chunk, bank_a_chunk):
    queries = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    bank = torch.randn(80, 6, generator=torch.Generator().manual_seed(2))
    whole = nearest_distance(queries, bank)
    monkeypatch.setattr(normal_bank, "QUERIES_A_CHUNK", queries_a_chunk)
    monkeypatch.setattr(normal_bank, "BANK_A_CHUNK", bank_a_chunk)
    torch.testing.assert_close(nearest_distance(queries, bank), whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(whole, torch.cdist(queries, bank).amin(1), rtol=1e-4, atol=1e-4)


def test_a_member_of_the_bank_is_at_distance_zero_even_far_from_the_origin():
    bank = 1000 + torch.randn(300, 16, generator=torch.Generator().manual_seed(3))
    assert nearest_distance(bank[100:120], bank).tolist() == [0.0] * 20


def test_patch_vectors_average_a_neighbourhood_and_share_the_finest_grid():
    one = patches(0)
    fine, coarse = patch_vectors([one, patches(1)], pooling=3)
    assert fine.shape == (2, 16, 3)
    assert coarse.shape == (2, 16, 5)
    level = one.levels[0].numpy()
    np.testing.assert_allclose(fine[0, 0], level[:, :2, :2].mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(fine[0, 6], level[:, 0:3, 1:4].mean((1, 2)), rtol=1e-5)
    # All four patches of the coarse level lie in each other's neighbourhood.
    np.testing.assert_allclose(coarse[0], np.tile(one.levels[1].mean((1, 2)).numpy(), (16, 1)), rtol=1e-4, atol=1e-6)
    plain = patch_vectors([one], pooling=1)
    np.testing.assert_allclose(plain[0][0, 6], level[:, 1, 2])
    np.testing.assert_allclose(plain[1][0, 0], one.levels[1][:, 0, 0])


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("balance_levels", [False, True])
@pytest.mark.parametrize("weights", [(), (1.0, 3.0)])
def test_a_bank_is_what_its_settings_say(metric, standardise, balance_levels, weights):
    chosen = NormalBankSettings(pooling=1, metric=metric, standardise=standardise, balance_levels=balance_levels)
    shots, test = [patches(seed, ((3, 4), (5, 4))) for seed in (0, 1)], patches(2, ((3, 4), (5, 4)))

    def vectors(one: SlicePatches) -> list[np.ndarray]:
        return [level.flatten(1).T.double().numpy() for level in one.levels]

    healthy = [np.concatenate([vectors(shot)[level] for shot in shots]) for level in (0, 1)]

    def scaled(one: SlicePatches) -> np.ndarray:
        parts = []
        for level, mine in enumerate(vectors(one)):
            part = (
                (mine - healthy[level].mean(0)) / healthy[level].std(0) if standardise else mine / healthy[level].std()
            )
            part = part * (weights[level] if weights else 1)
            parts.append(part / np.sqrt(part.shape[1]) if balance_levels else part)
        joined = np.concatenate(parts, axis=1)
        return joined / np.linalg.norm(joined, axis=1, keepdims=True) if metric == "cosine" else joined

    expected = slow_nearest(scaled(test), np.concatenate([scaled(shot) for shot in shots])).reshape(4, 4)
    np.testing.assert_allclose(NormalBank(shots, chosen, 0, weights).distances([test])[0], expected, rtol=1e-4)


def test_unseen_patches_are_neither_in_the_bank_nor_scored():
    half = np.zeros((4, 4), dtype=bool)
    half[:, :2] = True
    chosen = NormalBankSettings(pooling=1)
    bank = NormalBank([patches(0, seen=half)], chosen, seed=0)
    assert len(bank) == 8
    distances = bank.distances([patches(0)])[0]
    np.testing.assert_allclose(distances[half], 0)
    assert (distances[~half] > 0).all()
    unseen = bank.distances([patches(0, seen=half)])[0]
    np.testing.assert_array_equal(np.isnan(unseen), ~half)


def test_a_full_bank_keeps_a_seeded_sample():
    shots = [patches(seed) for seed in range(5)]
    chosen = NormalBankSettings(maximum_patches=20)
    one, same, other = (NormalBank(shots, chosen, seed) for seed in (1, 1, 2))
    assert len(one) == 20
    test = [patches(9)]
    np.testing.assert_array_equal(one.distances(test), same.distances(test))
    assert np.abs(one.distances(test) - other.distances(test)).max() > 0
    whole = NormalBank(shots, NormalBankSettings(), 0)
    assert len(whole) == 80
    assert whole.distances(test).mean() < one.distances(test).mean()


def test_a_channel_that_never_changes_does_no_harm():
    constant = SlicePatches(FRAME, np.ones((4, 4), dtype=bool), (torch.ones(2, 4, 4),))
    for standardise in (False, True):
        bank = NormalBank([constant], NormalBankSettings(standardise=standardise, metric="l2"), 0)
        np.testing.assert_allclose(bank.distances([constant]), 0)


def test_healthy_images_without_body():
    nothing = np.zeros((4, 4), dtype=bool)
    for healthy in ([], [patches(0, seen=nothing)]):
        with pytest.raises(ImageReadError, match="No patch of the healthy images"):
            NormalBank(healthy, NormalBankSettings(), 0)
