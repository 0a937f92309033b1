"""The planted lesion is where, and what, it is said to be."""

import numpy as np
import pytest

from anomalabel.demo.lesion import Head, LesionSettings, load_head, plant_lesion

SETTINGS = LesionSettings(radii_mm=(6.0, 8.0, 5.0), edge_mm=2.0, contrast_sd=-4.0, seed=3)


@pytest.fixture(scope="module")
def head() -> Head:
    """White matter of mean 200 and sd 5 on a 2 x 1 x 1.5 mm grid, air around it."""
    rng = np.random.default_rng(0)
    white = np.zeros((40, 80, 50), dtype=np.float32)
    white[4:-4, 8:-8, 6:-6] = 1
    t1 = (white * (200 + 5 * rng.standard_normal(white.shape))).astype(np.float32)
    return Head(t1, white, np.diag([2.0, 1.0, 1.5, 1.0]))


def test_the_truth_has_the_volume_of_the_ellipsoid_and_its_centre(head: Head) -> None:
    planted = plant_lesion(head, SETTINGS)
    expected = 4 / 3 * np.pi * 6 * 8 * 5
    assert planted.truth.sum() * 3.0 == pytest.approx(expected, rel=0.05)
    middle = np.argwhere(planted.truth).mean(axis=0) * [2.0, 1.0, 1.5]
    np.testing.assert_allclose(middle, planted.center_ras, atol=0.1)


def test_the_contrast_is_a_number_of_tissue_deviations_and_texture_stays(head: Head) -> None:
    planted = plant_lesion(head, SETTINGS)
    tissue_sd = head.t1[head.white_matter > 0.9].std()
    change = planted.t1 - head.t1
    assert change.min() == pytest.approx(-4 * tissue_sd, rel=1e-3)
    assert (np.abs(change[planted.truth]) >= 2 * tissue_sd - 1e-3).all()
    core = change == change.min()
    np.testing.assert_allclose(planted.t1[core] - head.t1[core], change.min(), rtol=1e-3)
    assert np.count_nonzero(change) < 2 * planted.truth.sum()


def test_the_place_follows_from_the_seed(head: Head) -> None:
    first, same = plant_lesion(head, SETTINGS), plant_lesion(head, SETTINGS)
    other = plant_lesion(head, LesionSettings(seed=4))
    assert first.center_ras == same.center_ras
    np.testing.assert_array_equal(first.t1, same.t1)
    assert first.center_ras != other.center_ras


def test_the_real_head_takes_it_in_white_matter() -> None:
    head = load_head()
    planted = plant_lesion(head)
    assert head.t1.shape == (197, 233, 189)
    assert head.white_matter[planted.truth].mean() > 0.6
    assert 0 <= planted.t1.min() < planted.t1.max() <= 255
