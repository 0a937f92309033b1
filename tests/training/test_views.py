from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from anomalabel.training.views import ViewRange, draw_views, mix_views

STILL = ViewRange(zoom=(1, 1), turn=0, shift=0, mirror=0, invert=0, gamma=0, gain=0, blur=0, noise=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(count, side, side, generator=seeded(9))


def test_the_same_generator_gives_the_same_views() -> None:
    first, again, other = (draw_views(pictures(), 24, ViewRange(), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 24, 24)


def test_views_stay_between_black_and_white() -> None:
    extreme = ViewRange(gamma=2, gain=0.9, invert=0.5, noise=1, zoom=(0.1, 2))
    views = draw_views(pictures(64), 16, extreme, seeded(0))
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.isfinite(views).all()


def test_without_any_change_a_view_is_its_picture() -> None:
    torch.testing.assert_close(draw_views(pictures(), 32, STILL, seeded(0)), pictures(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (replace(STILL, mirror=1), lambda picture: picture.flip(-1)),
        (replace(STILL, invert=1), lambda picture: 1 - picture),
    ],
    ids=["mirrored", "inverted"],
)
def test_certain_changes_by_hand(extent: ViewRange, expected) -> None:
    torch.testing.assert_close(draw_views(pictures(), 32, extent, seeded(0)), expected(pictures()), atol=1e-5, rtol=0)


def test_blur_is_the_mean_of_five_by_five_pixels() -> None:
    view = draw_views(pictures(1), 32, replace(STILL, blur=1), seeded(0))[0]
    expected = ndimage.uniform_filter(pictures(1)[0].numpy(), 5)
    np.testing.assert_allclose(view.numpy()[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)


def test_contrast_keeps_the_order_of_grey_levels() -> None:
    ramp = torch.linspace(0, 1, 32).expand(40, 32, 32)
    views = draw_views(ramp, 32, replace(STILL, gamma=0.9, gain=0.25), seeded(0))
    assert (views.diff(dim=2) >= -1e-6).all()
    assert views[:, 0, 16].std() > 0.05


def test_without_mirroring_left_stays_left() -> None:
    halves = torch.zeros(200, 32, 32)
    halves[:, :, :16] = 1
    extent = ViewRange(zoom=(0.8, 1), turn=0.3, shift=0.05, mirror=0, invert=0)
    views = draw_views(halves, 32, extent, seeded(0))
    assert (views[..., :16].mean((1, 2)) > views[..., 16:].mean((1, 2))).all()
    mirrored = draw_views(halves, 32, replace(extent, mirror=0.5), seeded(0))
    share = (mirrored[..., :16].mean((1, 2)) < mirrored[..., 16:].mean((1, 2))).float().mean()
    assert 0.35 < share < 0.65


def test_a_zoomed_view_shows_a_part_and_never_the_outside() -> None:
    grey = torch.full((100, 32, 32), 0.5)
    inside = draw_views(grey, 32, replace(STILL, zoom=(0.3, 0.9)), seeded(0))
    torch.testing.assert_close(inside[:, 1:-1, 1:-1], grey[:, 1:-1, 1:-1])
    ramp = torch.linspace(0, 1, 64).expand(50, 64, 64)
    shown = draw_views(ramp, 64, replace(STILL, zoom=(0.5, 0.5)), seeded(0))[:, 32]
    torch.testing.assert_close(shown[:, -2] - shown[:, 1], torch.full((50,), 61 / 2 / 63), atol=1e-3, rtol=0)
    assert shown[:, 32].std() > 0.1, "anywhere"


def test_mixed_views_hold_one_rectangle_of_their_neighbour() -> None:
    count, side = 50, 40
    views = torch.arange(count).float().view(-1, 1, 1).expand(count, side, side)
    mixed = mix_views(views, 1.0, seeded(0))
    for row, view in enumerate(mixed):
        pasted = view == (row - 1) % count
        assert (pasted | (view == row)).all()
        lines, columns = pasted.any(1).sum(), pasted.any(0).sum()
        assert pasted.sum() == lines * columns, "a rectangle"
        for length in (lines, columns):
            assert 0.2 * side - 1 <= length <= 0.7 * side + 1


def test_share_of_mixed_views() -> None:
    views = torch.arange(400).float().view(-1, 1, 1).expand(400, 20, 20)
    assert torch.equal(mix_views(views, 0.0, seeded(0)), views)
    changed = (mix_views(views, 0.3, seeded(0)) != views).any(2).any(1).float().mean()
    assert 0.2 < changed < 0.4
