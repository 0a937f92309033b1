"""The field of view of drawn pictures, whose true outline is known."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from skimage.draw import disk, polygon2mask
from skimage.morphology import convex_hull_image

from anomalabel.reconstruction.field_of_view import field_of_view

SIDE = 256
ALL = np.ones((SIDE, SIDE), dtype=bool)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def sector():
    """(SIDE, SIDE) bool, a curved probe's sector of 70 degrees; its apex lies above the picture."""
    distance = np.hypot(ROWS + 30, COLUMNS - SIDE / 2)
    angle = np.degrees(np.arctan2(COLUMNS - SIDE / 2, ROWS + 30))
    return (distance > 60) & (distance < 265) & (np.abs(angle) < 35)


def filled(shape, seed=0):
    """Speckle between 0.2 and 0.8 inside, ringing of at most 0.01 outside."""
    generator = np.random.default_rng(seed)
    speckle = generator.uniform(0.2, 0.8, shape.shape)
    return np.where(shape, speckle, generator.uniform(0, 0.01, shape.shape)).astype(np.float32)


def blackened(image, where):
    image[where] *= 0.01
    return image


def write_letters(image, top, left):
    """Two lines of three bright letters (an E of 9 x 5 pixels, strokes of one pixel)."""
    letter = np.zeros((9, 5), dtype=bool)
    letter[[0, 4, 8]], letter[:, 0] = True, True
    for line in (0, 12):
        for place in (0, 8, 16):
            image[top + line : top + line + 9, left + place : left + place + 5][letter] = 1


def disagreement(found, expected):
    return np.count_nonzero(found != expected) / expected.size


def test_a_sector_is_found_but_for_the_bay_above_it():
    truth = sector()
    found = field_of_view(filled(truth), ALL)
    hull = convex_hull_image(truth, offset_coordinates=False)
    assert disagreement(found, hull) < 0.002
    assert found[truth].mean() > 0.999
    assert not found[:8].any()


def test_cysts_stay_inside_also_at_the_edge():
    truth = sector()
    image = filled(truth)
    cysts = np.zeros_like(truth)
    cysts[disk((120, 130), 22)] = True
    cysts[disk((130, 195), 14)] = True
    cysts &= truth
    blackened(image, cysts)
    found = field_of_view(image, ALL)
    assert found[cysts & binary_erosion(truth, iterations=2)].all()
    assert disagreement(found, convex_hull_image(truth, offset_coordinates=False)) < 0.004


def test_a_shadow_that_reaches_the_lower_border_stays_inside():
    truth = sector()
    shadow = truth & (ROWS > 110) & (np.abs(COLUMNS - 140) < 20)
    found = field_of_view(blackened(filled(truth), shadow), ALL)
    # Between the lit pixels on either side the hull is a straight line, the sector's lower edge an arc.
    assert found[shadow].mean() > 0.98
    assert disagreement(found, convex_hull_image(truth, offset_coordinates=False)) < 0.004


def test_letters_in_the_black_are_outside():
    image = filled(sector())
    before = field_of_view(image, ALL)
    write_letters(image, 10, 6)
    write_letters(image, 230, 225)
    np.testing.assert_array_equal(field_of_view(image, ALL), before)


def test_specks_in_the_black_are_outside():
    truth = sector()
    image = filled(truth)
    before = field_of_view(image, ALL)
    specks = np.random.default_rng(1).random(truth.shape) < 0.002
    image[specks & ~truth] = 0.5
    assert disagreement(field_of_view(image, ALL), before) < 0.003


def test_a_turned_collimation_is_found():
    truth = polygon2mask((SIDE, SIDE), [(20, 50), (40, 245), (240, 220), (225, 18)])
    image = filled(truth)
    write_letters(image, 4, 4)
    assert disagreement(field_of_view(image, ALL), truth) < 0.002


@pytest.mark.parametrize("width", [1, 3, 12])
def test_narrow_black_borders_are_outside(width):
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[:, width:-width] = True
    np.testing.assert_array_equal(field_of_view(filled(truth), ALL), truth)


def test_lungs_at_the_border_stay_inside():
    image = filled(ALL)
    image[60:200, :70] *= 0.1
    np.testing.assert_array_equal(field_of_view(image, ALL), ALL)


def test_a_picture_without_black_is_all_inside():
    np.testing.assert_array_equal(field_of_view(filled(ALL), ALL), ALL)


def test_brightness_and_contrast_do_not_matter():
    image = filled(sector())
    np.testing.assert_array_equal(field_of_view(image * 0.5 + 0.3, ALL), field_of_view(image, ALL))


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_picture_is_all_inside(value):
    np.testing.assert_array_equal(field_of_view(np.full((SIDE, SIDE), value, dtype=np.float32), ALL), ALL)


def test_less_than_a_quarter_is_not_believed():
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[100:220, 100:220] = True
    np.testing.assert_array_equal(field_of_view(filled(truth), ALL), ALL)
    truth[60:220, 60:220] = True
    np.testing.assert_array_equal(field_of_view(filled(truth), ALL), truth)


def test_what_is_not_seen_is_outside_and_its_values_do_not_matter():
    truth = sector()
    image = filled(truth)
    seen = COLUMNS < 160
    found = field_of_view(image, seen)
    assert not found[~seen].any()
    assert found[truth & seen].mean() > 0.999
    np.testing.assert_array_equal(field_of_view(np.where(seen, image, 7).astype(np.float32), seen), found)


def test_nothing_seen_is_nothing_inside():
    assert not field_of_view(filled(ALL), ~ALL).any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 40), (64, 48)])
def test_any_size_of_picture(shape):
    image = np.random.default_rng(0).uniform(0.2, 1, shape).astype(np.float32)
    found = field_of_view(image, np.ones(shape, dtype=bool))
    assert found.shape == shape
    assert found.mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 91), st.integers(4, 123)), min_size=3, max_size=7))
def test_it_is_the_hull_of_what_is_lit(corners):
    """scikit-image's hull of pixel centres is the reference; corners too sharp for a probe may lose a few pixels."""
    polygon = polygon2mask((96, 128), corners)
    assume(polygon.any(axis=0).sum() > 3 and polygon.any(axis=1).sum() > 3 and polygon.sum() > 100)
    lit = convex_hull_image(polygon, offset_coordinates=False)
    image = np.where(lit, 0.7, 0).astype(np.float32)
    found = field_of_view(image, np.ones_like(lit))
    assert found.all() or not (found & ~lit).any()
    assert found.all() or np.count_nonzero(lit & ~found) < 0.1 * lit.size
