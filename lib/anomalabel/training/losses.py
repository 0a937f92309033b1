"""Losses that tie images, image pairs and patches to texts for and against disease."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

COVERED = 0.3
"""A patch is lesion when at least this share of it is covered; between 0 and this it is left out."""


def caption_loss(images: Tensor, texts: Tensor, same: Tensor, scale: Tensor) -> Tensor:
    """Contrastive image-text loss in both directions with several right texts for an image.

    Args:
        images: (N, D) unit vectors. texts: (N, D) unit vectors, caption of each image.
        same: (N, N) bool, whether text j is true of image i.
        scale: () positive, the inverse temperature.
    """
    logits = scale * images @ texts.T
    target = same.float()
    by_image = functional.cross_entropy(logits, target / target.sum(1, keepdim=True))
    by_text = functional.cross_entropy(logits.T, target.T / target.T.sum(1, keepdim=True))
    return (by_image + by_text) / 2


def status_loss(images: Tensor, positive: Tensor, negative: Tensor, diseased: Tensor, scale: Tensor) -> Tensor:
    """Two-way choice between each image's disease text and its health text.

    Args:
        images, positive, negative: (N, D) unit vectors. diseased: (N,) 0 or 1.
    """
    logits = scale * ((images * positive).sum(1) - (images * negative).sum(1))
    return functional.binary_cross_entropy_with_logits(logits, diseased)


def planted_pair_loss(planted: Tensor, clean: Tensor, positive: Tensor, negative: Tensor, scale: Tensor) -> Tensor:
    """The planted image is nearer to the disease text than the same image untouched; for the health text, farther."""
    toward = scale * ((planted - clean) * positive).sum(1)
    away = scale * ((clean - planted) * negative).sum(1)
    return (functional.softplus(-toward) + functional.softplus(-away)).mean()


def patch_loss(
    patches: Tensor, coverage: Tensor, known: Tensor, positive: Tensor, negative: Tensor, scale: Tensor
) -> Tensor:
    """Patches inside a lesion go to the disease text, all others to the health text; both sides weigh the same.

    Args:
        patches: (N, P, D) unit vectors. coverage: (N, P) share of each patch that is lesion.
        known: (N,) bool, whether the lesion's place is known. positive, negative: (N, D) unit vectors.
    """
    logits = scale * (torch.einsum("npd,nd->np", patches, positive) - torch.einsum("npd,nd->np", patches, negative))
    inside = (coverage >= COVERED) & known[:, None]
    outside = (coverage == 0) & known[:, None]
    parts = []
    for chosen, sign in ((inside, -1.0), (outside, 1.0)):
        if chosen.any():
            parts.append(functional.softplus(sign * logits[chosen]).mean())
    return torch.stack(parts).mean() if parts else logits.sum() * 0
