"""Slices into a network's square, maps back onto the volume."""

from __future__ import annotations

import numpy as np

from anomalabel.config import ForegroundSettings, PreprocessingSettings
from anomalabel.localization.framed_slices import MapCanvas, frame_slice
from anomalabel.preprocessing.slices import SlicePosition

PLAIN = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))


def test_patches_are_seen_where_any_of_their_pixels_is():
    image = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    seen = np.ones((8, 8), dtype=bool)
    seen[:4, 4:] = False
    seen[3, 7] = True
    seen[4:, :4] = False
    framed = frame_slice(image, seen, (1.0, 1.0), 8, PLAIN)
    np.testing.assert_allclose(framed.image, image, atol=1e-6)
    np.testing.assert_array_equal(framed.seen_patches((2, 2)), [[True, True], [False, True]])
    np.testing.assert_array_equal(
        framed.seen_patches((4, 4)),
        [[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]],
    )


def test_a_grid_that_does_not_divide_the_square_leaves_the_rest_out():
    seen = np.zeros((7, 7), dtype=bool)
    seen[6, 6] = seen[0, 0] = True
    framed = frame_slice(np.ones((7, 7), dtype=np.float32), seen, (1.0, 1.0), 7, PLAIN)
    np.testing.assert_array_equal(framed.seen_patches((2, 2)), [[True, False], [False, False]])


def test_crossing_slices_are_averaged_and_the_rest_is_unseen():
    canvas = MapCanvas((2, 2, 2), np.eye(4))
    canvas.add(SlicePosition(0, 0, "image"), np.array([[1, 3], [np.nan, 5]], dtype=np.float32))
    canvas.add(SlicePosition(1, 0, "image"), np.array([[2, 7], [4, 6]], dtype=np.float32))
    seen = np.ones((2, 2, 2), dtype=bool)
    seen[1, 0, 1] = False
    np.testing.assert_array_equal(canvas.mean(seen), [[[1.5, 5.0], [np.nan, 5.0]], [[4.0, np.nan], [np.nan, np.nan]]])
