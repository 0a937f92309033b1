"""SSIM as a map, equal to MONAI's and several times as fast: its window comes apart into rows and columns."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
"""Pixels, of the Gaussian window (Wang et al. 2004)."""

LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""The stability constants, for images in [0, 1]."""


def ssim_map(images: Tensor, restored: Tensor) -> Tensor:
    """Structural similarity of each window that lies in the image (Wang et al. 2004); differentiable.

    Args:
        images, restored: (N, 1, s, s) float32 in [0, 1], s from 11.

    Returns:
        (N, 1, s - 10, s - 10) in [-1, 1], a window at its centre.
    """
    blur = _blur_matrix(images.shape[-1], images)
    mean, square = _blurred(blur, images, images.square())
    mean_restored, square_restored, product = _blurred(blur, restored, restored.square(), images * restored)
    means, both = mean * mean_restored, mean.square() + mean_restored.square()
    contrast = (2 * (product - means) + CONTRAST) / (square + square_restored - both + CONTRAST)
    return contrast * (2 * means + LUMINANCE) / (both + LUMINANCE)


def _blurred(blur: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
    """Means over windows, as products of matrices: a convolution with one channel is ten times as slow."""
    return (blur @ torch.cat(maps) @ blur.T).split(len(maps[0]))


def _blur_matrix(side: int, like: Tensor) -> Tensor:
    """(side - 10, side), each row the window at another place."""
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - WINDOW // 2
    window = torch.exp(-0.5 * (offsets / SIGMA).square())
    rows = torch.arange(side - WINDOW + 1, device=like.device)[:, None]
    blur = torch.zeros(len(rows), side, device=like.device, dtype=like.dtype)
    blur[rows, rows + torch.arange(WINDOW, device=like.device)] = window / window.sum()
    return blur
