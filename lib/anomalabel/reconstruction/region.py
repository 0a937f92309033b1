"""The region that a saliency map suspects, on the pixels of a network's input (clap.txt eq. 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

FLAT = 1e-5
"""A saliency that varies less than this share of its largest value is constant; the rest is rounding."""


def suspected_regions(saliency: Tensor, inside: Tensor, threshold_sd: float) -> Tensor:
    """Where saliency exceeds its mean by some standard deviations, both over what is inside (clap.txt eq. 2).

    A slice whose saliency is constant inside, or with nothing inside, has no region.

    Args:
        saliency: (N, rows, columns) finite, larger = more suspicious, covering the whole square; brought to the
            pixels by bilinear interpolation.
        inside: (N, side, side) bool, pixels that count and may belong to the region.
        threshold_sd: published 0.674, a normal distribution's upper quartile.

    Returns:
        (N, side, side) bool.
    """
    exact = torch.promote_types(saliency.dtype, torch.float32)
    # Around 0 single precision tells the smallest differences.
    centred = saliency.to(exact) - saliency.to(exact).mean((1, 2), keepdim=True)
    size = inside.shape[-2:]
    values = functional.interpolate(centred[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    weights = inside.to(exact)
    count = weights.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (values * weights).sum((1, 2), keepdim=True) / count
    deviation = (((values - mean) * weights).square().sum((1, 2), keepdim=True) / count).sqrt()
    varies = deviation > FLAT * saliency.to(exact).abs().amax((1, 2), keepdim=True)
    return (values > mean + threshold_sd * deviation) & inside & varies
