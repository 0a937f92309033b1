"""Losses that tie images, image pairs and patches to texts for and against disease."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

EXCLUDED = -1e4
"""A logit that takes no part in a softmax; minus infinity would make the gradient of an empty row NaN."""


def caption_loss(images: Tensor, texts: Tensor, true: Tensor, false: Tensor, scale: Tensor | float) -> Tensor:
    """Contrastive image-text loss in both directions with several right texts for an image (few_shot eq. 12's form).

    Args:
        images: (N, D) unit vectors. texts: (M, D) unit vectors.
        true, false: (N, M) bool, whether text j is true, or false, of image i; neither where nobody knows.
        scale: positive, the inverse temperature.
    """
    logits = scale * images @ texts.T
    return (_choose(logits, true, false) + _choose(logits.T, true.T, false.T)) / 2


def _choose(logits: Tensor, true: Tensor, false: Tensor) -> Tensor:
    """Mean over rows and their true columns of -log softmax against the false columns; rows without either count 0."""
    everything = torch.logsumexp(logits.masked_fill(~false, EXCLUDED), dim=1, keepdim=True)
    each = torch.logaddexp(everything, logits) - logits
    count = true.sum(1)
    chosen = (count > 0) & false.any(1)
    rows = torch.where(true, each, torch.zeros_like(each)).sum(1)[chosen] / count[chosen]
    return rows.mean() if chosen.any() else logits.sum() * 0


def one_word_loss(images: Tensor, captions: Tensor, changed: Tensor, scale: Tensor | float) -> Tensor:
    """Each image is nearer to its caption than to the caption with one word made wrong; all (N, D) unit vectors.

    Without a caption that could be changed (N = 0) it is 0.
    """
    return functional.softplus(scale * ((images * changed).sum(1) - (images * captions).sum(1))).sum() / max(
        len(images), 1
    )


def simclr_loss(first: Tensor, second: Tensor, temperature: float = 0.2) -> Tensor:
    """Two views of an image find each other among all views (few_shot_localization.txt eq. 12).

    Args:
        first, second: (N, D) unit vectors, row i of both from image i.
    """
    both = torch.cat([first, second])
    logits = both @ both.T / temperature
    logits = logits.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    count = len(first)
    return functional.cross_entropy(logits, torch.arange(2 * count, device=both.device).roll(count))


def status_loss(images: Tensor, positive: Tensor, negative: Tensor, diseased: Tensor, scale: Tensor | float) -> Tensor:
    """Two-way choice between each image's disease text and its health text.

    Args:
        images, positive, negative: (N, D) unit vectors. diseased: (N,) 0 or 1. No rows: 0.
    """
    logits = scale * ((images * positive).sum(1) - (images * negative).sum(1))
    return functional.binary_cross_entropy_with_logits(logits, diseased, reduction="sum") / max(len(images), 1)


def planted_pair_loss(
    planted: Tensor, clean: Tensor, positive: Tensor, negative: Tensor, scale: Tensor | float
) -> Tensor:
    """The planted image is nearer to the disease text than the same image untouched; for the health text, farther.

    All (N, D) unit vectors; no rows: 0.
    """
    toward = scale * ((planted - clean) * positive).sum(1)
    away = scale * ((clean - planted) * negative).sum(1)
    return (functional.softplus(-toward) + functional.softplus(-away)).sum() / max(len(planted), 1)


def patch_text_loss(
    patches: Tensor,
    texts: Tensor,
    place: Tensor,
    if_inside: tuple[Tensor, Tensor],
    if_outside: tuple[Tensor, Tensor],
    scale: Tensor | float,
) -> Tensor:
    """Patches choose among the texts of the whole batch: of the right organ, for disease inside a lesion, else health.

    Args:
        patches: (N, P, D) unit vectors. texts: (M, D) unit vectors.
        place: (N, P) 1 inside a lesion, 0 outside, NaN where not known.
        if_inside, if_outside: (true, false) as in `caption_loss`, (N, M) bool each.
    """
    parts = []
    for value, (true, false) in ((1.0, if_inside), (0.0, if_outside)):
        image, patch = torch.nonzero(place == value, as_tuple=True)
        if len(image):
            parts.append(_choose(scale * patches[image, patch] @ texts.T, true[image], false[image]))
    return torch.stack(parts).mean() if parts else patches.sum() * 0
