"""Convolutional image towers of image-text models: feature maps at strides 8 and 16, and one vector a place for text.

A ResNet has no tokens to cut at, so CLAP cannot run on it; normal banks and few-shot localization can. What its pool
makes of the last map is taken apart, place by place, so that every place gets a vector in the text's space.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch.nn.functional as functional
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPool2d as LearnedAttentionPool2d
from timm.layers import Format, RotAttentionPool2d, resample_abs_pos_embed
from torch import Tensor, nn

FINE_STRIDE, COARSE_STRIDE = 8, 16


class ConvolutionalTrunk(Protocol):
    """A convolutional image tower seen place by place."""

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised images (N, 3, side, side).

        Returns:
            Features (N, C, rows, columns) at strides 8 and 16, and the embeddings (N, D, rows, columns) of the last
            map's places (stride 32) in the text's space, not normalised.
        """
        ...


class NativeResNet:
    """open_clip's own `ModifiedResNet` (CLIP's RN50 and its like), pooled by attention.

    A place's embedding is its value, position included, through the pool's output projection (MaskCLIP; Zhou, Loy and
    Dai 2022): what the image embedding would be if the pool looked at this place alone. The image embedding is a
    weighted mean of these, the weights chosen by each head, and of the mean place's.
    """

    def __init__(self, visual: ModifiedResNet) -> None:
        self._visual = visual

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        visual = self._visual
        fine = visual.layer2(visual.layer1(visual.stem(images)))
        coarse = visual.layer3(fine)
        last = visual.layer4(coarse)
        return fine, coarse, _as_map(_pooled_alone(visual.attnpool, _places(last), last.shape[2:]), last)


class TimmConvolutional:
    """A convolutional timm trunk inside open_clip's `TimmModel`.

    A place's embedding is what pool and head make of a map that holds this place alone. After average pooling with a
    linear head, their mean over the places is the image embedding exactly.
    """

    def __init__(self, visual: TimmModel) -> None:
        self._trunk, self._head = visual.trunk, visual.head
        strides = _strides(visual.trunk)
        self._indices = [strides.index(stride) for stride in (FINE_STRIDE, COARSE_STRIDE)]

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last, (fine, coarse) = self._trunk.forward_intermediates(images, indices=self._indices)
        return fine, coarse, _as_map(self._embed(last), last)

    def _embed(self, last: Tensor) -> Tensor:
        """The last map (N, C, rows, columns) to its places' embeddings (N, P, D)."""
        places = _places(last)
        pool = getattr(self._head, "pool", None)
        if pool is not None:
            return self._head[1:](_pooled_alone(pool, places, last.shape[2:]))
        alone = self._trunk.forward_head(places.flatten(0, 1)[:, :, None, None])
        return self._head(alone).unflatten(0, places.shape[:2])


def convolutional_trunk(visual: nn.Module) -> ConvolutionalTrunk | None:
    """The place-by-place view of an open_clip vision module; None where it is no convolutional one of a known kind."""
    if isinstance(visual, ModifiedResNet):
        return NativeResNet(visual)
    if isinstance(visual, TimmModel) and {FINE_STRIDE, COARSE_STRIDE} <= set(_strides(visual.trunk)):
        return TimmConvolutional(visual)
    return None


def _strides(trunk: nn.Module) -> list[int]:
    """Of a timm trunk's feature maps; none where its maps have their channels last, as Swin's have."""
    stages: Any = getattr(trunk, "feature_info", ())
    if getattr(trunk, "output_fmt", Format.NCHW) != Format.NCHW or not hasattr(trunk, "forward_intermediates"):
        return []
    return [int(stage["reduction"]) for stage in stages]


def _pooled_alone(pool: nn.Module, places: Tensor, grid: tuple[int, ...]) -> Tensor:
    """What an attention pool gives (N, P, D) where all its attention is on one place of (N, P, C)."""
    if isinstance(pool, AttentionPool2d):
        return pool.c_proj(pool.v_proj(places + pool.positional_embedding[1:]))
    if isinstance(pool, LearnedAttentionPool2d):
        position = resample_abs_pos_embed(pool.pos_embed[None], list(grid), list(pool.feat_size), num_prefix_tokens=1)
        places = places + position[:, 1:]
    elif not isinstance(pool, RotAttentionPool2d):
        raise TypeError(f"unknown pool {type(pool).__name__}")
    if pool.qkv is None:
        return pool.proj(pool.v(places))
    bias = None if pool.qkv.bias is None else pool.qkv.bias[-pool.embed_dim :]
    return pool.proj(functional.linear(places, pool.qkv.weight[-pool.embed_dim :], bias))


def _places(level: Tensor) -> Tensor:
    """(N, C, rows, columns) to (N, P, C), row by row."""
    return level.flatten(2).transpose(1, 2)


def _as_map(embeddings: Tensor, level: Tensor) -> Tensor:
    """(N, P, D) to (N, D, rows, columns) on a map's grid."""
    return embeddings.transpose(1, 2).unflatten(2, level.shape[2:])
