"""Maps standardised on healthy images and averaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.errors import ConfigError, ModelError
from anomalabel.localization.fusion import MapScale, fuse, standardise

NAN = np.nan


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_each_image_counts_the_same():
    scale = MapScale.of([array(1, 3, NAN), array(6, 6, 6, 6, 6, 6), array(NAN, NAN)], "bank")
    assert scale.mean == 4
    # ((9 + 1) / 2 + 4) / 2
    assert scale.deviation == pytest.approx(np.sqrt(4.5))


def test_a_map_in_healthy_deviations():
    standard = standardise(array(4, 10, NAN, -2), MapScale(4, 3))
    assert standard.dtype == np.float32
    np.testing.assert_array_equal(standard, array(0, 2, NAN, -2))


@given(st.integers(0, 10_000), st.floats(-1e3, 1e3), st.floats(0.01, 1e3))
@settings(max_examples=50, deadline=None)
def test_the_unit_of_a_map_does_not_matter(seed, offset, factor):
    generator = np.random.default_rng(seed)
    healthy = [generator.random((4, 4)) for _ in range(3)]
    test = generator.random((4, 4))
    plain = standardise(test, MapScale.of(healthy, "bank"))
    other = standardise(offset + factor * test, MapScale.of([offset + factor * one for one in healthy], "bank"))
    np.testing.assert_allclose(plain, other, rtol=1e-3, atol=1e-3)


def test_fusion_by_hand():
    maps = {"bank": array(2, 4, NAN), "text": array(0.5, 0.9, 0.1)}
    scales = {"bank": MapScale(2, 1), "text": MapScale(0.5, 0.1), "unused": MapScale(0, 1)}
    np.testing.assert_allclose(fuse(maps, scales), array(0, 3, NAN), atol=1e-6)
    np.testing.assert_allclose(fuse(maps, scales, {"bank": 3, "text": 1}), array(0, 2.5, NAN), atol=1e-6)
    np.testing.assert_allclose(fuse(maps, scales, {"bank": 0, "text": 2}), array(0, 4, -4), rtol=1e-5, atol=1e-6)
    assert fuse(maps, scales).dtype == np.float32


def test_a_kind_that_cries_wolf_on_healthy_images_is_turned_down():
    generator = np.random.default_rng(0)
    calm = [generator.normal(0, 1, 196).astype(np.float32) for _ in range(4)]
    wolf = [generator.normal(0, 1, 196).astype(np.float32) for _ in range(4)]
    for one in wolf:
        one[:6] += 12
    scales = {"calm": MapScale.of(calm, "calm"), "wolf": MapScale.of(wolf, "wolf")}
    lesion, alarm = array(5, 0), array(0, 12)
    fused = fuse({"calm": lesion, "wolf": alarm}, scales)
    by_bulk = {kind: MapScale(0, 1) for kind in scales}
    assert scales["wolf"].deviation > 2
    assert fused[0] > 0.8 * fused[1]
    assert fuse({"calm": lesion, "wolf": alarm}, by_bulk)[1] > 2 * fuse({"calm": lesion, "wolf": alarm}, by_bulk)[0]


@pytest.mark.parametrize("value", [0.0, 0.7, -1e4])
def test_a_map_without_spread_is_an_error_that_names_it(value):
    flat = [np.full((14, 14), value, np.float32) for _ in range(4)]
    with pytest.raises(ModelError, match="text map is the same"):
        MapScale.of(flat, "text")
    rounding = [one + np.float32(1e-7) * one * (np.arange(14) % 2) for one in flat]
    with pytest.raises(ModelError, match="Turn the part text off"):
        MapScale.of(rounding, "text")


@pytest.mark.parametrize("maps", [[], [array(NAN, NAN)]])
def test_nothing_seen_is_an_error(maps):
    with pytest.raises(ModelError, match="bank map has no value"):
        MapScale.of(maps, "bank")


@pytest.mark.parametrize(
    ("kinds", "weights"),
    [
        ((), None),
        (("bank", "other"), None),
        (("bank", "text"), {"bank": 1.0}),
        (("bank", "text"), {"bank": 1.0, "text": -1.0}),
        (("bank", "text"), {"bank": 0.0, "text": 0.0}),
        (("bank",), {"bank": NAN}),
    ],
)
def test_what_cannot_be_fused_is_refused(kinds, weights):
    scales = {"bank": MapScale(0, 1), "text": MapScale(0, 1)}
    with pytest.raises(ConfigError, match="cannot be fused"):
        fuse({kind: array(1, 2) for kind in kinds}, scales, weights)
