"""What the U-Net is trained for: the restored image is the real one, pixel by pixel and in its structures."""

from __future__ import annotations

import torch
from torch import Tensor

from anomalabel.config.reconstruction import GradientSimilarity, ReconstructionLosses
from anomalabel.reconstruction.gradient_similarity import msgms_map

WINDOW, SIGMA = 11, 1.5
"""Pixels, of SSIM's Gaussian window (Wang et al. 2004)."""


def objective(
    restored: Tensor,
    images: Tensor,
    inside: Tensor,
    weights: ReconstructionLosses,
    similarity: GradientSimilarity,
) -> dict[str, Tensor]:
    """Losses of each image by name, (N,) float32 and weighted, to be summed; those of weight 0 are left out.

    Each is a mean over the pixels inside the field of view, MSGMS over its scales too. SSIM is taken where its whole
    window lies in the image. An image without such pixels has loss 0.

    SSIM is MONAI's, which convolves one channel with the whole window: on a processor it takes two to three times as
    long as the U-Net's own step, forward and back, at 128 to 256 pixels. The other losses take a fraction of it.

    Args:
        restored: (N, 1, s, s) of any floating type.
        images: (N, 1, s, s) float32 in [0, 1].
        inside: (N, 1, s, s) bool.
    """
    # Else windows that reach over the field of view's border compare what is outside.
    restored = torch.where(inside, restored.float(), images)
    losses = {}
    if weights.l2 > 0:
        losses["l2"] = weights.l2 * _mean((restored - images).square(), inside)
    if weights.ssim > 0:
        border = WINDOW // 2
        whole = inside[..., border:-border, border:-border]
        losses["ssim"] = weights.ssim * _mean(1 - _ssim_map(images, restored), whole)
    if weights.msgms > 0:
        difference = msgms_map(images, restored, similarity) / similarity.scales
        losses["msgms"] = weights.msgms * _mean(difference, inside)
    return losses


def _ssim_map(images: Tensor, restored: Tensor) -> Tensor:
    """(N, 1, s - 10, s - 10) in [-1, 1], each window of two images in [0, 1] at its centre."""
    # MONAI takes seconds to import, which other methods should not wait for.
    from monai.metrics.regression import compute_ssim_and_cs

    similarity, _ = compute_ssim_and_cs(restored, images, 2, (WINDOW, WINDOW), (SIGMA, SIGMA), data_range=1.0)
    return similarity


def _mean(values: Tensor, inside: Tensor) -> Tensor:
    return (values * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)
