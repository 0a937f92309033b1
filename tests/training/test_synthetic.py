from __future__ import annotations

import numpy as np
import pytest

from anomalabel.training.crops import crop_around, crop_beside
from anomalabel.training.synthetic import MINIMUM_CONTRAST, plant_lesion


@pytest.fixture
def head() -> np.ndarray:
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    return np.where((rows / 0.8) ** 2 + (columns / 0.7) ** 2 < 1, 0.5, 0.0).astype(np.float32)


def test_lesion_lies_in_the_body_and_changes_it_there_only(head: np.ndarray) -> None:
    for seed in range(20):
        changed, shape = plant_lesion(head, np.random.default_rng(seed))
        difference = np.abs(changed - head)
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert shape.shape == head.shape
        assert (head[shape > 0.5] > 0).mean() > 0.7, "mostly inside the body"
        assert difference[shape > 0.5].max() > MINIMUM_CONTRAST / 2
        assert difference[shape < 1e-3].max() < 0.02


def test_the_same_seed_plants_the_same_lesion(head: np.ndarray) -> None:
    first, again = (plant_lesion(head, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])


def test_crops_with_and_without_the_lesion(head: np.ndarray) -> None:
    lesion = np.zeros_like(head)
    lesion[40:48, 30:38] = 1
    both = np.stack([head, lesion])
    beside = crop_beside(both, np.random.default_rng(0))
    around = crop_around(both, np.random.default_rng(0))
    assert beside is not None
    assert around is not None
    assert beside.shape == around.shape == both.shape
    assert not beside[1].any()
    assert around[1].sum() > lesion.sum() / 2


def test_no_crop_beside_a_lesion_that_fills_everything(head: np.ndarray) -> None:
    assert crop_beside(np.stack([head, np.ones_like(head)]), np.random.default_rng(0)) is None
    assert crop_around(np.stack([head, np.zeros_like(head)]), np.random.default_rng(0)) is None
