"""A start for vision transformers that see few images."""

from __future__ import annotations

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

QUERY_KEY = (0.7, 0.7)
VALUE_OUT = (0.4, -0.4)
"""Shares of noise and of the identity in the products of weights; Trockman & Kolter 2023, section 4."""

POSITION_SCALE = 0.5
WAVELENGTH = 10_000.0


def initialise_for_few_images(visual: VisionTransformer) -> None:
    """Let tokens look at similar and near ones from the first step on.

    Attention weights as trained transformers have them (Trockman & Kolter 2023, "Mimetic initialization of
    self-attention layers") and sine-cosine positions (Beyer et al. 2022, "Better plain ViT baselines"). Without them
    the planted-lesion task stands still several times as long.
    """
    for block in visual.transformer.resblocks:
        _initialise_attention(block.attn)
    positions = sine_cosine_positions(visual.grid_size, visual.transformer.width)
    with torch.no_grad():
        visual.positional_embedding[0] = 0
        visual.positional_embedding[1:] = POSITION_SCALE * positions


def sine_cosine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """(rows * columns, width): sines and cosines of the column, then of the row, at falling frequencies."""
    rate = WAVELENGTH ** -(torch.arange(width // 4) / (width / 4))
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    angles = [place.reshape(-1, 1) * rate for place in (columns, rows)]
    return torch.cat([function(angle) for angle in angles for function in (torch.sin, torch.cos)], dim=1)


def _initialise_attention(attention: nn.MultiheadAttention) -> None:
    width, heads = attention.embed_dim, attention.num_heads
    with torch.no_grad():
        for head in range(heads):
            left, right = _factors(width, width // heads, *QUERY_KEY)
            rows = slice(head * width // heads, (head + 1) * width // heads)
            attention.in_proj_weight[:width][rows] = left.T
            attention.in_proj_weight[width : 2 * width][rows] = right
        left, right = _factors(width, width, *VALUE_OUT)
        attention.in_proj_weight[2 * width :] = right
        attention.out_proj.weight.copy_(left)
        attention.in_proj_bias.zero_()
        attention.out_proj.bias.zero_()


def _factors(width: int, rank: int, noise: float, identity: float) -> tuple[Tensor, Tensor]:
    """(width, rank) and (rank, width) whose product is the best of its rank to noise + identity."""
    target = noise * torch.randn(width, width) / width**0.5 + identity * torch.eye(width)
    left, values, right = torch.linalg.svd(target)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, right[:rank] * root[:, None]
