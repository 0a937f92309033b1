"""What every map that follows texts shares: one vector for several texts, and attention that is checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.config import AttentionSettings
from anomalabel.errors import ModelError


def mean_text_vectors(model: ImageTextModel, sides: Sequence[Sequence[str]]) -> Tensor:
    """Unit vectors (S, D): each the direction of the mean of the vectors of one side's texts.

    Raises:
        PromptError: a text is longer than the model reads.
    """
    means = [model.encode_texts(texts).mean(0) for texts in sides]
    return functional.normalize(torch.stack(means), dim=-1)


def text_attention(
    model: ImageTextModel, images: Tensor, vectors: Tensor, settings: AttentionSettings, seed: int
) -> Tensor:
    """Attention for text vectors with the noise of a seed (M2IB; clap.txt eq. 1).

    Args:
        model: frozen image-text model.
        images: (N, side, side) grey, in [0, 1].
        vectors: (P, D) unit vectors.
        settings: of this very model (see `AttentionSettings.for_model`).
        seed: of the bottleneck's noise, the same for all images and vectors.

    Returns:
        (P, N, rows, columns) float32 in nats, not scaled.

    Raises:
        ModelError: the model answers with NaN or infinity, or the layer does not fit it.
    """
    tower = model.tower
    noise = draw_noise(settings, tower.grid[0] * tower.grid[1] + tower.prefix_tokens, tower.width, seed)
    maps = attention_maps(model, images, vectors, settings, noise)
    if not torch.isfinite(maps).all():
        raise ModelError(
            f"The attention of the model {model.identity.name} is not finite.",
            "Run `anomalabel models check` on it, or pull it again.",
        )
    return maps
