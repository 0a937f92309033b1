"""Transformer blocks run so that their gradient is fast on a processor.

PyTorch's fused attention needs several times as long backward as the batched matrix products do on a CPU (40 ms
against 5 to 14 ms for 48 images of ViT-Ti, bfloat16), and M2IB is little else than backward passes. On a GPU the
fused kernel is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from open_clip.transformer import ResidualAttentionBlock
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn


def run_blocks(blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
    """Tokens (N, T, C) through blocks, one after the other; equal to calling each block."""
    for block in blocks:
        tokens = _run_block(block, tokens)
    return tokens


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of (N, heads, T, channels) each; no mask, no dropout."""
    if query.device.type != "cpu":
        return functional.scaled_dot_product_attention(query, key, value)
    shape = query.shape
    query, key, value = (part.reshape(shape[0] * shape[1], shape[2], shape[3]) for part in (query, key, value))
    weights = torch.softmax(torch.bmm(query * shape[3] ** -0.5, key.transpose(1, 2)), dim=-1)
    return torch.bmm(weights.to(value.dtype), value).reshape(shape)


def _run_block(block: nn.Module, tokens: Tensor) -> Tensor:
    if type(block) is ResidualAttentionBlock:
        tokens = tokens + block.ls_1(_native_attention(block.attn, block.ln_1(tokens)))
        return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    if type(block) is Block and type(block.attn) is Attention and block.attn.gate is None:
        tokens = tokens + block.drop_path1(block.ls1(_timm_attention(block.attn, block.norm1(tokens))))
        return tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
    return block(tokens)


def _native_attention(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    joint = functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    return attention.out_proj(_merge(attend(*_split(joint, attention.num_heads))))


def _timm_attention(attention: Attention, tokens: Tensor) -> Tensor:
    query, key, value = _split(attention.qkv(tokens), attention.num_heads)
    merged = _merge(attend(attention.q_norm(query), attention.k_norm(key), value))
    return attention.proj_drop(attention.proj(attention.norm(merged)))


def _split(joint: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, T, 3 * C) to three (N, heads, T, C / heads)."""
    count, length, channels = joint.shape
    query, key, value = joint.reshape(count, length, 3, heads, channels // (3 * heads)).permute(2, 0, 3, 1, 4)
    return query, key, value


def _merge(heads: Tensor) -> Tensor:
    """(N, heads, T, c) to (N, T, heads * c)."""
    return heads.transpose(1, 2).flatten(2)
