"""Errors in an encoder's eyes, and errors on a coarser or finer grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from anomalabel.reconstruction.error_maps import feature_encoder, feature_error, inside_cells, on_cells


class Levels:
    """An encoder of 8-pixel squares with three levels: means of 2 x 2 pixels, the same negated, and squared."""

    side = 8

    def __init__(self, text_level: int | None) -> None:
        self.text_level = text_level
        self.shapes: list[tuple[int, ...]] = []

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.shapes.append(tuple(images.shape))
        means = torch.nn.functional.avg_pool2d(images[:, None], 2)
        return means, -means, means**2


def blocks(count: int, side: int, across: int) -> torch.Tensor:
    """(count, 1, side, side), constant in squares of which `across` lie along a side."""
    values = torch.rand(count, 1, across, across, generator=torch.Generator().manual_seed(side))
    return values.repeat_interleave(side // across, 2).repeat_interleave(side // across, 3)


@pytest.mark.parametrize(("text_level", "chosen"), [(0, 0), (1, 1), (None, 2)])
def test_the_level_in_the_texts_space_is_compared_else_the_last(text_level, chosen):
    images = blocks(3, 8, 4)
    means = images[:, :, ::2, ::2]
    encoder = Levels(text_level)
    found = feature_encoder(encoder)(images)
    assert encoder.shapes == [(3, 8, 8)]
    torch.testing.assert_close(found, (means, -means, means**2)[chosen])


@pytest.mark.parametrize("side", [32, 4])
def test_images_are_resized_to_the_encoder_as_pillow_does_it(side):
    """Pillow's bilinear filter is smoothed where it shrinks, too."""
    images = blocks(2, side, 4)
    encoder = Levels(0)
    found = feature_encoder(encoder)(images)
    resized = [
        np.asarray(Image.fromarray(one[0].numpy()).resize((8, 8), Image.Resampling.BILINEAR)).copy() for one in images
    ]
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(np.stack(resized))[:, None], 2)
    assert encoder.shapes == [(2, 8, 8)]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_error_is_one_minus_the_cosine():
    real = torch.tensor([[3.0, 1.0, 2.0, 1.0], [0.0, 1.0, -1.0, 0.0]]).view(1, 2, 2, 2)
    restored = torch.tensor([[0.5, 1.0, -4.0, 0.0], [0.0, -1.0, 2.0, 5.0]]).view(1, 2, 2, 2)
    # The same direction at another length, a right angle, the opposite direction, a right angle.
    found = feature_error(real, restored)
    assert found.shape == (1, 1, 2, 2)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 1.0, 2.0, 1.0]), atol=1e-6, rtol=0)


def test_on_fewer_cells_errors_are_means():
    errors = torch.arange(32, dtype=torch.float32).view(2, 1, 4, 4)
    assert on_cells(errors, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]], [[18.5, 20.5], [26.5, 28.5]]]
    assert torch.equal(on_cells(errors, 4), errors[:, 0])
    assert on_cells(errors, 1).tolist() == [[[7.5]], [[23.5]]]


def test_on_more_cells_errors_are_interpolated():
    errors = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    along = torch.tensor([0.0, 0.25, 0.75, 1.0])
    assert torch.allclose(on_cells(errors, 4)[0], 8 * along[:, None] + 4 * along[None])


@pytest.mark.parametrize(("side", "cells"), [(6, 4), (14, 16), (7, 3)])
def test_grids_that_do_not_divide_each_other_are_resampled_as_pillow_does_it(side, cells):
    errors = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(1))
    found = on_cells(errors, cells)
    assert found.shape == (2, cells, cells)
    for number in range(2):
        expected = Image.fromarray(errors[number, 0].numpy()).resize((cells, cells), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[number], np.asarray(expected), atol=1e-5)


def test_a_cell_is_inside_where_anything_of_it_is():
    inside = torch.zeros(2, 4, 6, dtype=torch.bool)[:, :, :4]
    inside[0, 1, 2] = True
    inside[1, 2:, :] = True
    assert inside_cells(inside, 2).tolist() == [[[False, True], [False, False]], [[False, False], [True, True]]]
    assert torch.equal(inside_cells(inside, 4), inside)
