"""What the U-Net is trained for: the restored image is the real one, pixel by pixel and in its structures."""

from __future__ import annotations

import torch
from torch import Tensor

from anomalabel.config.reconstruction import GradientSimilarity, ReconstructionLosses
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.training.reconstruction.structural_similarity import WINDOW, ssim_map


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
        losses["ssim"] = weights.ssim * _mean(1 - ssim_map(images, restored), whole)
    if weights.msgms > 0:
        difference = msgms_map(images, restored, similarity) / similarity.scales
        losses["msgms"] = weights.msgms * _mean(difference, inside)
    return losses


def _mean(values: Tensor, inside: Tensor) -> Tensor:
    return (values * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)
