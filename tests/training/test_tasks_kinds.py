"""What each task does to an image: where, by how much, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from anomalabel.training.tasks.change import Change, difference_of_looks, seen_change
from anomalabel.training.tasks.cutpaste import cut_and_paste
from anomalabel.training.tasks.gaussian_intensity import CONTRAST, change_intensity
from anomalabel.training.tasks.identity import leave_as_is
from anomalabel.training.tasks.source_deformation import push_from_point

SIDE = 96
SEEDS = range(40)
TASKS = [cut_and_paste, change_intensity, push_from_point, leave_as_is]


@pytest.fixture(scope="module")
def body() -> np.ndarray:
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return (rows / 0.8) ** 2 + (columns / 0.9) ** 2 < 1


@pytest.fixture(scope="module")
def tissue(body: np.ndarray) -> np.ndarray:
    """Coarse and fine structure of all grey values, black outside the body."""
    generator = np.random.default_rng(0)
    coarse, fine = (ndimage.gaussian_filter(generator.standard_normal((SIDE, SIDE)), width) for width in (6, 1))
    values = 0.5 + 0.2 * coarse / coarse.std() + 0.08 * fine / fine.std()
    return np.where(body, np.clip(values, 0, 1), 0).astype(np.float32)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_changes_the_body_only_and_only_within_its_extent(task, tissue, body):
    changed = 0
    for seed in SEEDS:
        change = task(tissue, body, np.random.default_rng(seed))
        if change is None:
            continue
        assert change.image.dtype == np.float32
        assert change.image.min() >= 0
        assert change.image.max() <= 1
        assert change.extent.min() >= 0
        assert change.extent.max() <= 1
        assert not change.extent[~body].any()
        np.testing.assert_array_equal(change.image[change.extent == 0], tissue[change.extent == 0])
        changed += bool((change.image != tissue).any())
    assert changed == 0 if task is leave_as_is else changed > 20


def test_an_intensity_change_is_a_contrast_times_a_bump_that_peaks_in_it(body):
    grey = np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    signs = set()
    for seed in SEEDS:
        change = change_intensity(grey, body, np.random.default_rng(seed))
        reached = change.extent > 0.1
        ratio = (change.image - grey)[reached] / change.extent[reached]
        np.testing.assert_allclose(ratio, ratio[0], atol=1e-5)
        assert CONTRAST[0] <= abs(ratio[0]) <= CONTRAST[1]
        signs.add(np.sign(ratio[0]))
    assert signs == {-1, 1}


def test_an_intensity_change_keeps_the_texture(tissue, body):
    grey = 0.45 + 0.1 * tissue
    for seed in SEEDS:
        change = change_intensity(grey, body, np.random.default_rng(seed))
        unclipped = (change.extent > 0.1) & (change.image > 0) & (change.image < 1)
        bump = (change.image - grey)[unclipped] / change.extent[unclipped]
        np.testing.assert_allclose(bump, bump[0], atol=1e-5)


def test_a_pasted_patch_is_a_turned_piece_of_the_image_from_farther_off():
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    slope = (0.2 + 0.4 * rows + 0.2 * columns).astype(np.float32)
    everywhere = np.ones((SIDE, SIDE), dtype=bool)
    angles = []
    for seed in SEEDS:
        change = cut_and_paste(slope, everywhere, np.random.default_rng(seed))
        if change is None:
            continue
        inside = ndimage.binary_erosion(change.extent == 1, iterations=2)
        inside[:12] = inside[-12:] = inside[:, :12] = inside[:, -12:] = False
        if inside.sum() < 20:
            continue
        down, right = np.gradient(change.image)
        steepness, angle = np.hypot(down, right)[inside], np.arctan2(down, right)[inside]
        if steepness.std() > 1e-4:
            continue  # the patch reaches over the picture's border, where it is reflected
        assert np.median(steepness) == pytest.approx(np.hypot(0.4, 0.2) / SIDE, rel=1e-2)
        angles.append(float(np.median(angle)))
    assert len(angles) > 5
    assert np.std(angles) > 0.5, "turned in all directions"


def test_a_patch_fades_into_what_it_covers(tissue, body):
    large = 0
    for seed in SEEDS:
        change = cut_and_paste(tissue, body, np.random.default_rng(seed))
        if change is None or (change.extent > 0.5).sum() < 200:
            continue
        large += 1
        away_from_the_border = ndimage.binary_erosion(body, iterations=2)
        steps = np.hypot(*np.gradient(change.extent))[away_from_the_border]
        assert steps.max() < 0.7, "no pixel belongs to the patch whose neighbour doesn't"
    assert large > 5


def test_patches_are_body_and_not_air(body):
    halves = np.where(np.indices((SIDE, SIDE))[1] < SIDE // 2, 0.2, 0.5)
    bright_air = np.where(body, halves, 1).astype(np.float32)
    air = []
    for seed in SEEDS:
        change = cut_and_paste(bright_air, body, np.random.default_rng(seed))
        if change is not None:
            air.append((change.image[body] > 0.6).sum() / (change.extent > 0).sum())
    assert len(air) > 10
    assert max(air) < 0.1


def test_no_patch_where_the_body_is_a_single_pixel(tissue):
    speck = np.zeros((SIDE, SIDE), dtype=bool)
    speck[40, 40] = True
    assert cut_and_paste(tissue, speck, np.random.default_rng(0)) is None


def read_places(body: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(2, H, W) where each pixel of a bent image came from, told by bending pictures of the coordinates; its extent."""
    scale = np.float32(SIDE - 1)
    bent = [
        push_from_point(axis.astype(np.float32) / scale, body, np.random.default_rng(seed))
        for axis in np.indices((SIDE, SIDE))
    ]
    return np.stack([change.image * scale for change in bent]), bent[0].extent > 0


def test_deformations_swell_or_shrink_without_folding_and_stay_in_the_body(body):
    growth = []
    for seed in SEEDS:
        places, extent = read_places(body, seed)
        inside = ndimage.binary_erosion(extent, iterations=2)
        if inside.sum() < 100:
            continue
        (a, b), (c, d) = (np.gradient(place) for place in places)
        area = a * d - b * c
        assert area[inside].min() > -0.1, "no tissue is turned inside out"
        growth.append(area[inside][np.argmax(np.abs(np.log(np.maximum(area[inside], 1e-3))))])
        rows, columns = np.rint(places).astype(int)
        assert body[rows[body], columns[body]].all()
        displaced = np.hypot(*(places - np.indices(body.shape)))
        assert displaced[inside].max() > 0.5
        edge = extent & ~ndimage.binary_erosion(extent)
        assert displaced[edge].max() < 0.5 * displaced.max(), "still toward the outline"
    assert len(growth) > 10
    assert min(growth) < 0.6, "sources look at less than they show"
    assert max(growth) > 1.5, "sinks draw tissue in"


def test_a_deformation_brings_no_new_intensity(body):
    stripes = np.where(np.indices((SIDE, SIDE))[1] % 8 < 4, 0.3, 0.6).astype(np.float32)
    for seed in SEEDS:
        bent = push_from_point(stripes, body, np.random.default_rng(seed)).image
        assert bent.min() >= np.float32(0.3)
        assert bent.max() <= np.float32(0.6)


def test_a_patch_of_the_same_speckle_is_none():
    generator = np.random.default_rng(0)
    speckle = (0.5 + 0.06 * generator.standard_normal((SIDE, SIDE))).astype(np.float32)
    everywhere = np.ones((SIDE, SIDE), dtype=bool)
    assert all(cut_and_paste(speckle, everywhere, generator) is None for _ in range(30))


def test_looks_differ_by_level_and_by_texture_and_not_by_the_grain():
    generator = np.random.default_rng(0)
    before, other = (0.5 + 0.06 * generator.standard_normal((2, SIDE, SIDE))).astype(np.float32)
    assert np.abs(other - before).mean() > 0.06
    assert difference_of_looks(before, other, 5.0).mean() < 0.015
    np.testing.assert_allclose(difference_of_looks(before, before + np.float32(0.2), 5.0), 0.2, atol=1e-4)
    rougher = difference_of_looks(before, 0.5 + 3 * (before - 0.5), 5.0)
    assert rougher.mean() == pytest.approx(2 * 0.06, rel=0.1), "standard deviation 0.18 instead of 0.06"


def test_seen_change_counts_a_new_level_in_full_and_a_faint_one_in_part():
    before = np.full((SIDE, SIDE), 0.4, dtype=np.float32)
    extent = np.zeros((SIDE, SIDE), dtype=np.float32)
    extent[30:60, 30:60] = 1
    plain = seen_change(before, Change(before + 0.3 * extent, extent))
    np.testing.assert_allclose(plain, extent, atol=0.03)
    faint = seen_change(before, Change(before + np.float32(0.03) * extent, extent))
    assert faint[45, 45] == pytest.approx(0.5, abs=0.01), "0.03 of 0.06"
    assert not faint[extent == 0].any()
