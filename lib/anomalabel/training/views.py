"""Strongly changed views of grey pictures: what a network must see through, or must not mistake for disease."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor


@dataclass(frozen=True)
class ViewRange:
    """How far views differ from their picture.

    Args:
        zoom: smallest and largest side of the part that is shown, relative to the picture's side.
        turn: largest rotation to either side, radians.
        shift: largest shift relative to half the side, for parts as large as the picture.
        mirror: share of views mirrored left to right.
        invert: share of views with bright and dark exchanged.
        gamma, gain: contrast exponents lie in 2^(+-gamma), factors in 1 +- gain.
        blur: share of views blurred with a 5 x 5 kernel.
        noise: largest standard deviation of added noise.
    """

    zoom: tuple[float, float] = (0.25, 1.05)
    turn: float = 0.8
    shift: float = 0.1
    mirror: float = 0.5
    invert: float = 0.1
    gamma: float = 0.9
    gain: float = 0.25
    blur: float = 0.15
    noise: float = 0.05


def draw_views(pictures: Tensor, side: int, extent: ViewRange, generator: torch.Generator) -> Tensor:
    """One random view (N, side, side) in [0, 1] of each picture (N, H, W) in [0, 1]."""
    count = len(pictures)
    draw = torch.rand(count, 12, generator=generator)
    zoom = extent.zoom[0] + (extent.zoom[1] - extent.zoom[0]) * draw[:, 0]
    angle = (2 * draw[:, 1] - 1) * extent.turn
    mirror = torch.where(draw[:, 2] < extent.mirror, -1.0, 1.0)
    room = (1 - zoom).clamp(min=0) + extent.shift
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = zoom * angle.cos() * mirror
    theta[:, 0, 1] = -zoom * angle.sin()
    theta[:, 1, 0] = zoom * angle.sin() * mirror
    theta[:, 1, 1] = zoom * angle.cos()
    theta[:, :, 2] = (2 * draw[:, 3:5] - 1) * room[:, None]
    grid = functional.affine_grid(theta, [count, 1, side, side], align_corners=False)
    views = functional.grid_sample(pictures[:, None], grid, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)
    views = views ** (2 ** ((2 * draw[:, 5] - 1) * extent.gamma)).view(-1, 1, 1)
    views = views * (1 + (2 * draw[:, 6] - 1) * extent.gain).view(-1, 1, 1)
    views = torch.where((draw[:, 7] < extent.invert).view(-1, 1, 1), 1 - views, views)
    blurred = functional.avg_pool2d(views[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    views = torch.where((draw[:, 8] < extent.blur).view(-1, 1, 1), blurred, views)
    noise = torch.randn(views.shape, generator=generator) * (draw[:, 9] ** 2 * extent.noise).view(-1, 1, 1)
    return (views + noise).clamp(0, 1)


def mix_views(views: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Paste a rectangle of another view into a `share` of the views (N, side, side) (CutMix, Yun et al. 2019)."""
    count, side = len(views), views.shape[-1]
    draw = torch.rand(count, 5, generator=generator)
    line = torch.arange(side) / side
    top, left = draw[:, 0] * 0.8, draw[:, 1] * 0.8
    height, width = 0.2 + draw[:, 2] * 0.5, 0.2 + draw[:, 3] * 0.5
    rows = (line >= top[:, None]) & (line < (top + height)[:, None])
    columns = (line >= left[:, None]) & (line < (left + width)[:, None])
    pasted = rows[:, :, None] & columns[:, None] & (draw[:, 4] < share).view(-1, 1, 1)
    return torch.where(pasted, views.roll(1, 0), views)
