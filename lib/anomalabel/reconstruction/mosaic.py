"""Hides a suspected region under a mosaic, so that a network cannot copy what it should restore (clap.txt 2.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.errors import ConfigError


def hide(images: Tensor, regions: Tensor, block: int) -> Tensor:
    """The means of square blocks inside the regions, the images elsewhere.

    Args:
        images: (N, 1, side, side), any type; means are taken in float32 at least, and rounded for whole numbers.
        regions: (N, side, side) bool, what to hide. A block's mean counts all of its pixels, hidden or not.
        block: pixels along a block's side; the images' side is a multiple of it.

    Returns:
        (N, 1, side, side) of the images' type.

    Raises:
        ConfigError: the side is no multiple of the block.
    """
    count, _, side, _ = images.shape
    across = side // block
    if across * block != side:
        raise ConfigError(
            f"A side of {side} pixels holds no whole number of blocks of {block}.", "Choose other blocks."
        )
    means = functional.avg_pool2d(images.to(torch.promote_types(images.dtype, torch.float32)), block)
    if not images.is_floating_point():
        means = means.round()
    spread = means.to(images.dtype)[:, :, :, None, :, None]
    in_blocks = (count, 1, across, block, across, block)
    return torch.where(regions.reshape(in_blocks), spread, images.reshape(in_blocks)).reshape(images.shape)
