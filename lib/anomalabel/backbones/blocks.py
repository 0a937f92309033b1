"""Transformer blocks run so that their gradient is fast on a processor.

PyTorch's fused attention needs several times as long backward as the batched matrix products do on a CPU (40 ms
against 5 to 14 ms for 48 images of ViT-Ti, bfloat16), and M2IB is little else than backward passes. On a GPU the
fused kernel is used. Of the last block only the class token is needed, so only its query and its MLP are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from open_clip.transformer import ResidualAttentionBlock
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn


def run_blocks(blocks: Sequence[nn.Module] | nn.ModuleList, tokens: Tensor, keep: int | None = None) -> Tensor:
    """Tokens (N, T, C) through blocks, one after the other; equal to calling each block.

    Args:
        keep: of the last block, return only the first `keep` tokens (N, keep, C); None returns all.
    """
    for block in blocks[:-1]:
        tokens = _run_block(block, tokens, None)
    return _run_block(blocks[-1], tokens, keep) if len(blocks) else tokens[:, :keep]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of queries (N, heads, Q, c) over keys and values (N, heads, T, c); no mask, no dropout."""
    if query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value)
    shape = query.shape
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    weights = torch.softmax(torch.bmm(query * shape[3] ** -0.5, key.transpose(1, 2)), dim=-1)
    return torch.bmm(weights.to(value.dtype), value).reshape(shape)


def _run_block(block: nn.Module, tokens: Tensor, keep: int | None) -> Tensor:
    if isinstance(block, ResidualAttentionBlock):
        attended = block.ls_1(_native_attention(block.attn, block.ln_1(tokens), keep))
        tokens = tokens[:, :keep] + attended
        return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    if isinstance(block, Block) and type(block.attn) is Attention and block.attn.gate is None:
        attended = block.drop_path1(block.ls1(_timm_attention(block.attn, block.norm1(tokens), keep)))
        tokens = tokens[:, :keep] + attended
        return tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
    return block(tokens)[:, :keep]


def _native_attention(attention: nn.MultiheadAttention, tokens: Tensor, keep: int | None) -> Tensor:
    parts = _project(tokens, attention.in_proj_weight, attention.in_proj_bias, attention.num_heads, keep)
    return attention.out_proj(_merge(attend(*parts)))


def _timm_attention(attention: Attention, tokens: Tensor, keep: int | None) -> Tensor:
    query, key, value = _project(tokens, attention.qkv.weight, attention.qkv.bias, attention.num_heads, keep)
    merged = _merge(attend(attention.q_norm(query), attention.k_norm(key), value))
    return attention.proj_drop(attention.proj(attention.norm(merged)))


def _project(
    tokens: Tensor, weight: Tensor, bias: Tensor | None, heads: int, keep: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (N, T, C) to queries of the first `keep` tokens and keys and values of all, (N, heads, tokens, c) each."""
    channels = weight.shape[0] // 3
    if keep is None:
        query, key, value = functional.linear(tokens, weight, bias).split(channels, dim=-1)
    else:
        first, rest = (None, None) if bias is None else (bias[:channels], bias[channels:])
        query = functional.linear(tokens[:, :keep], weight[:channels], first)
        key, value = functional.linear(tokens, weight[channels:], rest).split(channels, dim=-1)
    return _split(query, heads), _split(key, heads), _split(value, heads)


def _split(tokens: Tensor, heads: int) -> Tensor:
    """(N, T, C) to (N, heads, T, C / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(heads: Tensor) -> Tensor:
    """(N, heads, T, c) to (N, T, heads * c)."""
    return heads.transpose(1, 2).flatten(2)
