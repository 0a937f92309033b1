"""Healthy images change as far as their anatomy allows, and their body with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalabel.config import AugmentationSettings, ElasticDeformation, load_config, shipped_config_names
from anomalabel.training.augmentation import augment

SIDE = 64
STILL = {"intensity_jitter": 0.0}


def elastic_of(smoothness: float, share: float) -> ElasticDeformation:
    """A deformation with that share of the largest displacement that is allowed."""
    return ElasticDeformation(smoothness=smoothness, displacement=share * min(0.35 * smoothness, 0.2))


@pytest.fixture(scope="module")
def marked() -> tuple[np.ndarray, np.ndarray]:
    """A grey disc of body with a bright mark in its upper left quarter."""
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    body = rows**2 + columns**2 < 0.7**2
    mark = (rows + 0.3) ** 2 + (columns + 0.35) ** 2 < 0.12**2
    return (0.3 * body + 0.6 * mark).astype(np.float32), body


def mark_of(image: np.ndarray) -> np.ndarray:
    """(2,) place of the brightest spot, from -1 to 1, down and right."""
    return (np.array(ndimage.center_of_mass(image > 0.7 * image.max())) - (SIDE - 1) / 2) / ((SIDE - 1) / 2)


def test_nothing_allowed_changes_nothing(marked):
    image, body = marked
    changed, moved = augment(image, body, AugmentationSettings(**STILL), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(moved, body)


@pytest.mark.parametrize("name", shipped_config_names())
def test_only_what_may_be_mirrored_is_ever_mirrored(marked, name):
    allowed = load_config(name).augmentation
    generator = np.random.default_rng(0)
    places = np.array([mark_of(augment(*marked, allowed, generator)[0]) for _ in range(40)])
    if name == "lymph_node_histology":
        assert len({tuple(signs) for signs in np.sign(places)}) == 4, "in all quarters"
        return
    assert (places[:, 0] < 0).all(), "never upside down"
    mirrored = (places[:, 1] > 0).mean()
    if name in {"chest_xray", "liver_ct", "brain_mri"}:
        assert mirrored == 0
    else:
        assert mirrored == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 40))


def test_mirrors_are_exact(marked):
    image, body = marked
    both = AugmentationSettings(mirror_left_right=True, mirror_up_down=True, **STILL)
    seen = set()
    for seed in range(30):
        changed, moved = augment(image, body, both, np.random.default_rng(seed))
        candidates = {(up, left): (image[::up, ::left], body[::up, ::left]) for up in (1, -1) for left in (1, -1)}
        hits = [key for key, pair in candidates.items() if np.array_equal(pair[0], changed)]
        assert len(hits) == 1
        np.testing.assert_array_equal(moved, candidates[hits[0]][1])
        seen.add(hits[0])
    assert len(seen) == 4


def test_rotations_turn_image_and_body_by_up_to_the_stated_angle(marked):
    image, _ = marked
    mark = image > 0.6
    before = np.arctan2(*mark_of(image))
    angles = []
    for seed in range(60):
        turned, moved = augment(
            image, mark, AugmentationSettings(rotation_degrees=20, **STILL), np.random.default_rng(seed)
        )
        angles.append(np.degrees(np.arctan2(*mark_of(turned)) - before))
        agreement = (moved & (turned > 0.6)).sum() / (moved | (turned > 0.6)).sum()
        assert agreement > 0.8, "the body moves with the image"
        assert moved.sum() == pytest.approx(mark.sum(), rel=0.1)
    assert np.abs(angles).max() <= 21
    assert min(angles) < -12
    assert max(angles) > 12


def test_what_comes_from_beyond_the_border_is_no_body():
    grey = np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    everywhere = np.ones((SIDE, SIDE), dtype=bool)
    turned, moved = augment(
        grey, everywhere, AugmentationSettings(rotation_degrees=45, **STILL), np.random.default_rng(3)
    )
    np.testing.assert_allclose(turned, 0.5, atol=1e-5, err_msg="no black corner appears")
    assert not moved[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert moved[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].all()
    assert moved.mean() < 0.99


def test_elastic_deformation_bends_inside_and_keeps_the_outline(marked):
    _, body = marked
    rows, columns = np.indices((SIDE, SIDE)).astype(np.float32) / (SIDE - 1)
    elastic = AugmentationSettings(elastic=ElasticDeformation(displacement=0.02, smoothness=0.1), **STILL)
    typical = []
    for seed in range(20):
        (down, kept), (right, _) = (
            augment(axis, body, elastic, np.random.default_rng(seed)) for axis in (rows, columns)
        )
        np.testing.assert_array_equal(kept, body)
        shift = np.stack([down - rows, right - columns]) * (SIDE - 1) / SIDE
        assert np.abs(shift[:, ~body]).max() < 1e-4
        deep = ndimage.binary_erosion(body, iterations=10)
        typical.append(shift[:, deep].std())
        (a, b), (c, d) = np.gradient(down * (SIDE - 1)), np.gradient(right * (SIDE - 1))
        assert (a * d - b * c)[1:-1, 1:-1].min() > 0, "no fold"
    assert np.mean(typical) == pytest.approx(0.02, rel=0.35), "displacement is the standard deviation"


def test_jitter_is_a_gain_and_an_exponent_in_their_ranges():
    image = np.linspace(0, 0.8, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    body = np.ones((SIDE, SIDE), dtype=bool)
    fits = []
    for seed in range(60):
        changed, kept = augment(image, body, AugmentationSettings(intensity_jitter=0.2), np.random.default_rng(seed))
        assert kept.all()
        known = (image > 0.05) & (changed < 1)
        exponent, gain = np.polyfit(np.log(image[known]), np.log(changed[known]), 1)
        np.testing.assert_allclose(changed[known], np.exp(gain) * image[known] ** exponent, rtol=1e-3)
        fits.append((np.exp(gain), np.log2(exponent)))
    gains, exponents = np.array(fits).T
    assert gains.min() == pytest.approx(0.8, abs=0.03)
    assert gains.max() == pytest.approx(1.2, abs=0.03)
    assert exponents.min() == pytest.approx(-0.2, abs=0.03)
    assert exponents.max() == pytest.approx(0.2, abs=0.03)


def test_a_seed_gives_one_result_and_the_input_stays(marked):
    allowed = load_config("lymph_node_histology").augmentation
    image, body = marked[0].copy(), marked[1].copy()
    first, again = (augment(image, body, allowed, np.random.default_rng(5)) for _ in range(2))
    other = augment(image, body, allowed, np.random.default_rng(6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(image, marked[0])
    np.testing.assert_array_equal(body, marked[1])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    mirrors=st.tuples(st.booleans(), st.booleans()),
    degrees=st.floats(0, 180),
    jitter=st.floats(0, 0.99),
    elastic=st.none() | st.builds(elastic_of, smoothness=st.floats(0.01, 0.5), share=st.floats(0.01, 1)),
    filled=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_whatever_is_allowed_the_ranges_hold(seed, mirrors, degrees, jitter, elastic, filled):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 2, (24, 24)).astype(np.float32)
    body = generator.random((24, 24)) < filled
    allowed = AugmentationSettings(
        mirror_left_right=mirrors[0],
        mirror_up_down=mirrors[1],
        rotation_degrees=degrees,
        intensity_jitter=jitter,
        elastic=elastic,
    )
    changed, moved = augment(image, body, allowed, generator)
    assert changed.shape == moved.shape == image.shape
    assert changed.dtype == np.float32
    assert moved.dtype == np.bool_
    assert np.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize(("smoothness", "largest"), [(0.1, 0.035), (0.04, 0.014), (0.5, 0.175)])
def test_a_deformation_that_would_fold_is_refused(smoothness, largest):
    assert ElasticDeformation(smoothness=smoothness, displacement=largest).displacement == largest
    with pytest.raises(ValueError, match=rf"folds tissue over itself; .*{smoothness:g} at most {largest:g}"):
        ElasticDeformation(smoothness=smoothness, displacement=1.01 * largest)
