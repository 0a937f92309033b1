"""MSGMS: how far two images' gradients differ, over a pyramid of scales (clap.txt eq. 3; EAR's Prewitt operator)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.config.reconstruction import GradientSimilarity

ROOT_EPSILON = 1e-12
"""Added to a squared gradient: a root has no slope at 0."""

PREWITT_DIVISOR = 3
"""The published kernel is divided by it. Here gradients stay that many times larger, and the constants follow."""

PIXELS_AT_ONCE = 131_072
"""A processor's core is fastest on as many as stay in its cache; a graphics card takes the whole batch."""


def msgms_map(images: Tensor, restored: Tensor, settings: GradientSimilarity) -> Tensor:
    """Sum over scales of 1 - gradient magnitude similarity: 0 where both images have the same edges (clap.txt eq. 3).

    Each scale halves the one before by the means of 2 x 2 pixels (a last odd row or column is left out) and is brought
    back by bilinear interpolation. Beyond the border the outermost pixels are repeated. Differentiable in both images,
    also where they are constant.

    Args:
        images, restored: (N, 1, side, side) in [0, 1], side at least 2 ** (scales - 1); half precision is computed in
            float32, since the epsilon under the root would vanish.

    Returns:
        (N, 1, side, side) in [0, scales], float32 or, of float64, float64.
    """
    exact = torch.promote_types(images.dtype, torch.float32)
    images, restored = images.to(exact), restored.to(exact)
    learning = torch.is_grad_enabled() and (images.requires_grad or restored.requires_grad)
    whole_batch = learning or images.device.type != "cpu"
    size, constant = images.shape[-2:], PREWITT_DIVISOR**2 * settings.constant
    at_once = _images_at_once(images, whole_batch)
    total = _in_parts(images, restored, constant, at_once)
    for _ in range(settings.scales - 1):
        images, restored = _halved(images), _halved(restored)
        level = _in_parts(images, restored, constant, _images_at_once(images, whole_batch))
        for start in range(0, len(level), at_once):
            few, part = level[start : start + at_once], total[start : start + at_once]
            part += functional.interpolate(few, size=size, mode="bilinear", align_corners=False)
    return total


def _images_at_once(images: Tensor, whole_batch: bool) -> int:
    if whole_batch:
        return len(images)
    return max(PIXELS_AT_ONCE // images.shape[-2:].numel(), 1)


def _in_parts(images: Tensor, restored: Tensor, constant: float, at_once: int) -> Tensor:
    if len(images) <= at_once:
        return _dissimilarity(images, restored, constant)
    parts = zip(images.split(at_once), restored.split(at_once), strict=True)
    return torch.cat([_dissimilarity(image, one, constant) for image, one in parts])


def _dissimilarity(images: Tensor, restored: Tensor, constant: float) -> Tensor:
    """1 - (2 g h + c) / (g^2 + h^2 + c), written as (g - h)^2 / (g^2 + h^2 + c): nothing is lost near 0."""
    of_images, of_restored = _squared_gradient(images), _squared_gradient(restored)
    total = (of_images + of_restored).add_(constant)
    return _square(of_images.sqrt_() - of_restored.sqrt_()) / total


def _squared_gradient(images: Tensor) -> Tensor:
    """Squared magnitude, `PREWITT_DIVISOR` squared times the published. Sums of slices: a convolution with one channel
    takes twice to eight times as long, and its way back twice."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    along = padded[..., :-2, :] + padded[..., 1:-1, :]
    along += padded[..., 2:, :]
    across = along[..., 2:] - along[..., :-2]
    along = padded[..., :-2] + padded[..., 1:-1]
    along += padded[..., 2:]
    down = along[..., 2:, :] - along[..., :-2, :]
    return _square(across).addcmul_(down, down).add_(PREWITT_DIVISOR**2 * ROOT_EPSILON)


def _halved(images: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; average pooling takes four times as long."""
    height, width = (length // 2 * 2 for length in images.shape[-2:])
    rows = images[..., 0:height:2, :] + images[..., 1:height:2, :]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]).mul_(0.25)


def _square(values: Tensor) -> Tensor:
    """In place where no way back needs the values."""
    return values.square() if values.requires_grad else values.square_()
