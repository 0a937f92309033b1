"""Patch maps on a volume's grid, several kinds at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.detectors.base import PreparedImage, no_progress
from anomalabel.detectors.patch_maps import fill_unseen, paint_maps
from anomalabel.errors import ImageReadError
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

SIDE = 8


def image(depth=5):
    scaled = np.broadcast_to(np.arange(depth, dtype=np.float32)[:, None, None], (depth, SIDE, SIDE)).copy()
    seen = np.ones(scaled.shape, dtype=bool)
    seen[..., 0] = False
    positions = tuple(SlicePosition(0, number, "axial") for number in range(depth))
    return PreparedImage(PreparedVolume(scaled, seen), np.eye(4), positions)


def extract(unseen=()):
    """Slices that carry their own number; those in `unseen` hold no body."""

    def run(image, positions):
        frame = SquareFrame.around((SIDE, SIDE), (1.0, 1.0), SIDE, np.ones((SIDE, SIDE), dtype=bool))
        return [
            SlicePatches(
                frame,
                np.full((2, 2), position.index not in unseen),
                (torch.full((1, 2, 2), float(image.prepared.scaled[position.index, 0, 0])),),
            )
            for position in positions
        ]

    return run


def score(slices):
    maps = np.stack([one.levels[0][0].numpy() for one in slices])
    maps = np.where(np.stack([one.seen for one in slices]), maps, np.nan).astype(np.float32)
    return maps, -10 * maps


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_each_kind_lies_on_its_slices(size):
    told = []
    painted = paint_maps(image(), size, extract(), score, lambda done, total: told.append((done, total)))
    assert len(painted.volumes) == 2
    for number in range(5):
        np.testing.assert_allclose(painted.volumes[0][number, :, 1:], number, atol=1e-5)
        np.testing.assert_allclose(painted.volumes[1][number, :, 1:], -10 * number, atol=1e-4)
    assert np.isnan(painted.volumes[0][..., 0]).all()
    assert [float(one.mean()) for one in painted.slices] == [0, 1, 2, 3, 4]
    assert told == [(start, 5) for start in range(0, 5, size)] + [(5, 5)]


def test_slices_without_body_are_left_out():
    painted = paint_maps(image(), 2, extract(unseen=(0, 3)), score, no_progress)
    assert [float(one.mean()) for one in painted.slices] == [1, 2, 4]
    for volume in painted.volumes:
        assert np.isnan(volume[[0, 3]]).all()
        assert np.isfinite(volume[[1, 2, 4], :, 1:]).all()
    with pytest.raises(ImageReadError, match="No patch of the image holds body"):
        paint_maps(image(), 2, extract(unseen=range(5)), score, no_progress)


def test_unseen_patches_take_their_nearest_seen_neighbour():
    values = np.array([[1, np.nan, np.nan, 4], [np.nan, np.nan, np.nan, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(fill_unseen(values, np.isfinite(values)), [[1, 1, 4, 4], [1, 1, 4, 4]])
