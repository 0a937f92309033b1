"""The square between slice and model."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anomalabel.preprocessing.framing import SquareFrame

SHAPES = st.tuples(st.integers(8, 90), st.integers(8, 90))
SPACINGS = st.tuples(st.floats(0.3, 3), st.floats(0.3, 3))
PLACES = st.tuples(st.floats(0.25, 0.75), st.floats(0.25, 0.75))

TORCH_ROUNDING = 5e-5
"""torch computes the places of pixels in float32."""


def pixel_centres_mm(shape, spacing):
    return np.meshgrid(*((np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij")


@pytest.mark.parametrize(("size", "side"), [(100, 32), (37, 37), (20, 64), (256, 224)])
def test_to_model_is_antialiased_as_torch_does_it(size, side):
    image = np.random.default_rng(1).random((size, size)).astype(np.float32)
    frame = SquareFrame.around((size, size), (0.7, 0.7), side)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], (side, side), mode="bilinear", antialias=True
    )[0, 0]
    np.testing.assert_allclose(frame.to_model(image), expected, atol=TORCH_ROUNDING)


@pytest.mark.parametrize("resolution", [7, 14, 224])
def test_to_source_is_bilinear_as_torch_does_it(resolution):
    model_map = np.random.default_rng(2).random((resolution, resolution)).astype(np.float32)
    frame = SquareFrame.around((300, 300), (0.5, 0.5), 224)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(model_map)[None, None], (300, 300), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(frame.to_source(model_map), expected, atol=TORCH_ROUNDING)


def test_a_flat_slice_is_centred_and_padded():
    frame = SquareFrame.around((2, 4), (1.0, 1.0), 8)
    expected = np.zeros((8, 8), np.float32)
    expected[2:6] = 1
    np.testing.assert_allclose(frame.to_model(np.ones((2, 4), np.float32)), expected, atol=1e-6)


def test_millimetres_count_not_pixels():
    frame = SquareFrame.around((10, 40), (4.0, 1.0), 40)
    np.testing.assert_allclose(frame.to_model(np.ones((10, 40), np.float32)), 1.0, atol=1e-6)
    assert frame.extent_mm == 40


@settings(max_examples=80, deadline=None)
@given(shape=SHAPES, spacing=SPACINGS, resolution=st.integers(4, 40))
def test_a_ramp_over_the_square_comes_back_exactly(shape, spacing, resolution):
    frame = SquareFrame.around(shape, spacing, 64)
    step = frame.extent_mm / resolution
    rows_mm, columns_mm = (origin + (np.arange(resolution) + 0.5) * step for origin in frame.origin_mm)
    ramp = 0.3 * rows_mm[:, None] - 0.2 * columns_mm
    row_mm, column_mm = pixel_centres_mm(shape, spacing)
    inner = (np.abs(row_mm - rows_mm.mean()) <= rows_mm[-1] - rows_mm.mean()) & (
        np.abs(column_mm - columns_mm.mean()) <= columns_mm[-1] - columns_mm.mean()
    )
    expected = 0.3 * row_mm - 0.2 * column_mm
    np.testing.assert_allclose(frame.to_source(ramp)[inner], expected[inner], atol=1e-3)


@settings(max_examples=80, deadline=None)
@given(shape=SHAPES, spacing=SPACINGS, place=PLACES, crop=st.booleans())
def test_a_blob_comes_back_where_it_was(shape, spacing, place, crop):
    extents = np.array(shape) * spacing
    assume(extents.max() / extents.min() < 4)
    row_mm, column_mm = pixel_centres_mm(shape, spacing)
    centre = extents * place
    width = max(*spacing, extents.max() / 64) * 2
    assume(width * 3 < extents.min() * 0.25)
    blob = np.exp(-((row_mm - centre[0]) ** 2 + (column_mm - centre[1]) ** 2) / (2 * width**2)).astype(np.float32)
    seen = blob > 1e-3 if crop else None
    frame = SquareFrame.around(shape, spacing, 64, seen)
    back = np.nan_to_num(frame.to_source(frame.to_model(blob)))
    for axis, coordinate in enumerate((row_mm, column_mm)):
        before, after = ((weights * coordinate).sum() / weights.sum() for weights in (blob, back))
        assert abs(before - after) < 0.5 * spacing[axis]


def test_cropping_fills_the_square_with_the_body_and_leaves_the_rest_unseen():
    seen = np.zeros((100, 100), bool)
    seen[40:60, 30:70] = True
    frame = SquareFrame.around((100, 100), (1.0, 1.0), 44, seen)
    assert frame.extent_mm == pytest.approx(44)
    assert frame.origin_mm == pytest.approx((28, 28))
    np.testing.assert_allclose(frame.to_model(seen), seen[28:72, 28:72], atol=1e-6)
    back = frame.to_source(np.ones((11, 11)))
    np.testing.assert_array_equal(np.isfinite(back), np.pad(np.ones((44, 44), bool), 28))


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, spacing=SPACINGS, data=st.data())
def test_all_that_is_seen_lies_inside_the_square(shape, spacing, data):
    seen = np.zeros(shape, bool)
    for _ in range(data.draw(st.integers(1, 3))):
        seen[data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = True
    frame = SquareFrame.around(shape, spacing, 32, seen)
    assert np.isfinite(frame.to_source(np.ones((8, 8), np.float32))[seen]).all()


def test_nothing_seen_frames_the_whole_slice():
    assert SquareFrame.around((5, 9), (1, 1), 8, np.zeros((5, 9), bool)) == SquareFrame.around((5, 9), (1, 1), 8)


def test_stacks_of_slices_and_maps():
    frame = SquareFrame.around((20, 30), (1.0, 0.5), 16)
    images = np.random.default_rng(3).random((4, 20, 30)).astype(np.float32)
    models = frame.to_model(images)
    assert models.shape == (4, 16, 16)
    for image, model in zip(images, models, strict=True):
        np.testing.assert_allclose(frame.to_model(image), model, atol=1e-6)
        np.testing.assert_allclose(frame.to_source(models)[0], frame.to_source(models[0]), atol=1e-6)


def test_a_slice_takes_milliseconds():
    frame = SquareFrame.around((256, 256), (1.0, 1.0), 224)
    model_map = np.ones((224, 224), np.float32)
    frame.to_source(model_map)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        frame.to_source(model_map)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01
