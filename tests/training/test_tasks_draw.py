"""Which task is drawn, and that the mask says truly what it did."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalabel.config import TaskShares
from anomalabel.training.tasks import draw_task
from anomalabel.training.tasks.draw import TASKS

SIDE = 64
NAMES = tuple(TASKS)


def only(task: str) -> TaskShares:
    return TaskShares(**{name: float(name == task) for name in NAMES})


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Structure of every size and grey level, on which every task shows."""
    generator = np.random.default_rng(0)
    values = sum(
        amplitude * noise / noise.std()
        for amplitude, width in ((0.2, 6), (0.12, 1.5))
        for noise in [ndimage.gaussian_filter(generator.standard_normal((SIDE, SIDE)), width)]
    )
    return np.clip(0.5 + values, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def body() -> np.ndarray:
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return (rows / 0.8) ** 2 + (columns / 0.9) ** 2 < 1


def test_every_share_has_its_task():
    assert set(NAMES) == set(TaskShares.model_fields)


@pytest.mark.parametrize(
    "shares",
    [
        TaskShares(),
        TaskShares(cutpaste=3, gaussian_intensity=1, source_deformation=0, identity=0),
        TaskShares(cutpaste=0.2, gaussian_intensity=0, source_deformation=0, identity=0.2),
    ],
)
def test_tasks_are_drawn_by_their_shares(tissue, body, shares):
    draws = 200
    generator = np.random.default_rng(0)
    drawn = [draw_task(tissue, body, shares, generator).task for _ in range(draws)]
    whole = sum(getattr(shares, name) for name in NAMES)
    for name in NAMES:
        share = getattr(shares, name) / whole
        tolerance = 4 * np.sqrt(share * (1 - share) / draws)
        assert drawn.count(name) / draws == pytest.approx(share, abs=tolerance), name


@pytest.mark.parametrize("task", NAMES)
def test_the_mask_lies_where_the_image_changed_and_in_the_body(tissue, body, task):
    for seed in range(30):
        example = draw_task(tissue, body, only(task), np.random.default_rng(seed))
        assert example.task == task
        changed = np.abs(example.image - tissue)
        assert not example.mask[~body].any()
        assert not changed[~body].any()
        if task == "identity":
            np.testing.assert_array_equal(example.image, tissue)
            assert not example.mask.any()
            continue
        outside, inside = changed[example.mask == 0], changed[example.mask > 0.5]
        assert outside.max(initial=0) < 0.05, "nothing that shows lies outside the mask"
        assert example.mask.any()
        if inside.size:
            assert inside.mean() > 0.03
        weighted = (changed * example.mask).sum() / example.mask.sum()
        assert weighted > 5 * changed.mean()


@pytest.mark.parametrize("task", ["cutpaste", "source_deformation"])
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_what_cant_show_is_labelled_identity(task, level):
    flat = np.full((SIDE, SIDE), level, dtype=np.float32)
    for seed in range(5):
        example = draw_task(flat, np.ones((SIDE, SIDE), dtype=bool), only(task), np.random.default_rng(seed))
        assert example.task == "identity"
        assert not example.mask.any()
        np.testing.assert_array_equal(example.image, flat)


def test_speckle_pasted_onto_the_same_speckle_is_no_anomaly():
    generator = np.random.default_rng(0)
    speckle = (0.5 + 0.03 * generator.standard_normal((SIDE, SIDE))).astype(np.float32)
    everywhere = np.ones((SIDE, SIDE), dtype=bool)
    kinds = [draw_task(speckle, everywhere, only("cutpaste"), generator).task for _ in range(20)]
    assert kinds.count("identity") >= 18
    darker_half = np.where(np.indices((SIDE, SIDE))[1] < SIDE // 2, speckle, speckle - 0.3)
    kinds = [draw_task(darker_half, everywhere, only("cutpaste"), generator).task for _ in range(20)]
    assert kinds.count("cutpaste") >= 18


def test_a_white_image_can_only_get_darker():
    white = np.ones((SIDE, SIDE), dtype=np.float32)
    for seed in range(10):
        example = draw_task(white, np.ones((SIDE, SIDE), bool), only("gaussian_intensity"), np.random.default_rng(seed))
        assert example.task == "gaussian_intensity"
        assert example.image.min() < 0.9


def test_without_a_body_the_whole_image_counts(tissue):
    nothing, everything = np.zeros((SIDE, SIDE), dtype=bool), np.ones((SIDE, SIDE), dtype=bool)
    for seed in range(8):
        example = draw_task(tissue, nothing, TaskShares(), np.random.default_rng(seed))
        same = draw_task(tissue, everything, TaskShares(), np.random.default_rng(seed))
        assert example.task == same.task
        np.testing.assert_array_equal(example.image, same.image)


@pytest.mark.parametrize("task", NAMES)
def test_a_seed_draws_one_example_and_leaves_the_image_alone(tissue, body, task):
    before = tissue.copy()
    first, again = (draw_task(tissue, body, only(task), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    np.testing.assert_array_equal(tissue, before)
    assert not np.shares_memory(first.image, tissue)
    if task != "identity":
        other = draw_task(tissue, body, only(task), np.random.default_rng(8))
        assert not np.array_equal(first.mask, other.mask)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(16, 48),
    width=st.integers(16, 48),
    filled=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    texture=st.sampled_from(["noise", "steps", "black", "white"]),
)
def test_whatever_comes_the_ranges_hold(seed, height, width, filled, texture):
    generator = np.random.default_rng(seed)
    noise = generator.random((height, width))
    image = {
        "noise": noise,
        "steps": np.round(ndimage.gaussian_filter(noise, 3) * 8) / 8,
        "black": np.zeros((height, width)),
        "white": np.ones((height, width)),
    }[texture].astype(np.float32)
    body = generator.random((height, width)) < filled
    example = draw_task(image, body, TaskShares(), generator)
    assert example.image.shape == example.mask.shape == image.shape
    assert example.image.dtype == example.mask.dtype == np.float32
    assert example.image.min() >= 0
    assert example.image.max() <= 1
    assert example.mask.min() >= 0
    assert example.mask.max() <= 1
    assert (example.task == "identity") == (not example.mask.any())
    if body.any():
        np.testing.assert_array_equal(example.image[~body], image[~body])
        assert not example.mask[~body].any()
