"""Vision transformers cut at a block: what lies below it runs once, what lies above it many times."""

from __future__ import annotations

from typing import Protocol

import timm
import torch
import torch.nn.functional as functional
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from anomalabel.backbones.blocks import attend, run_blocks
from anomalabel.backbones.hybrid import HybridTower
from anomalabel.errors import ModelError

NEEDS_VIT = (
    "CLAP attention needs a plain ViT: choose another model; with a ResNet, the methods normal_bank and few_shot run."
)


class ImageTower(Protocol):
    """A vision transformer whose blocks can be run in two halves.

    Tokens are (N, T, C): `prefix_tokens` class or register tokens, then the patch grid row by row.
    """

    depth: int
    width: int
    prefix_tokens: int
    grid: tuple[int, int]

    blocks: nn.ModuleList

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, side, side) to the tokens (N, T, C) that enter the first block."""
        ...

    def tokens_after(self, images: Tensor, layer: int) -> Tensor:
        """Normalised images (N, 3, side, side) to the output (N, T, C) of block `layer`, counted from 0."""
        ...

    def embed_from(self, tokens: Tensor, layer: int) -> Tensor:
        """Output (N, T, C) of block `layer` to image embeddings (N, D), not normalised."""
        ...

    def project_patches(self, tokens: Tensor) -> Tensor:
        """Output (N, T, C) of the last block to patch embeddings (N, P, D) in the text's space, not normalised."""
        ...


class NativeTower:
    """open_clip's own `VisionTransformer`."""

    prefix_tokens = 1

    def __init__(self, visual: VisionTransformer) -> None:
        if not visual.transformer.batch_first or visual.attn_pool is not None:
            raise ModelError(
                "This open_clip vision tower pools by attention or runs sequence first.",
                "Choose a ViT with class-token or average pooling.",
            )
        self._visual = visual
        self.blocks = visual.transformer.resblocks
        self.depth = len(self.blocks)
        self.width = int(visual.transformer.width)
        rows, columns = visual.grid_size
        self.grid = (rows, columns)
        self.pools_class_token = visual.pool_type == "tok"
        self._needed = self.prefix_tokens if self.pools_class_token else None

    def embed(self, images: Tensor) -> Tensor:
        return self._visual._embeds(images)

    def tokens_after(self, images: Tensor, layer: int) -> Tensor:
        return run_blocks(self.blocks[: layer + 1], self.embed(images))

    def embed_from(self, tokens: Tensor, layer: int) -> Tensor:
        tokens = run_blocks(self.blocks[layer + 1 :], tokens, self._needed)
        pooled, _ = self._visual._pool(tokens)
        return pooled if self._visual.proj is None else pooled @ self._visual.proj

    def project_patches(self, tokens: Tensor) -> Tensor:
        patches = self._visual.ln_post(tokens)[:, self.prefix_tokens :]
        return patches if self._visual.proj is None else patches @ self._visual.proj


class TimmTower:
    """A timm vision transformer inside open_clip's `TimmModel` (BiomedCLIP's kind)."""

    def __init__(self, visual: TimmModel) -> None:
        trunk = visual.trunk
        if not isinstance(trunk, timm.models.VisionTransformer):
            raise ModelError(
                f"The timm trunk {type(trunk).__name__} is no plain vision transformer.",
                NEEDS_VIT,
            )
        self._trunk = trunk
        self._head = visual.head
        self.blocks = nn.ModuleList(trunk.blocks)
        self.depth = len(self.blocks)
        self.width = int(trunk.embed_dim)
        self.prefix_tokens = int(trunk.num_prefix_tokens)
        rows, columns = trunk.patch_embed.grid_size
        self.grid = (rows, columns)
        self.pools_class_token = trunk.global_pool == "token"
        self._needed = self.prefix_tokens if self.pools_class_token else None

    def embed(self, images: Tensor) -> Tensor:
        tokens = self._trunk._pos_embed(self._trunk.patch_embed(images))
        return self._trunk.norm_pre(self._trunk.patch_drop(tokens))

    def tokens_after(self, images: Tensor, layer: int) -> Tensor:
        return run_blocks(self.blocks[: layer + 1], self.embed(images))

    def embed_from(self, tokens: Tensor, layer: int) -> Tensor:
        tokens = self._trunk.norm(run_blocks(self.blocks[layer + 1 :], tokens, self._needed))
        return self._head(self._trunk.forward_head(tokens))

    def project_patches(self, tokens: Tensor) -> Tensor:
        trunk = self._trunk
        patches = trunk.norm(tokens)[:, self.prefix_tokens :]
        if trunk.attn_pool is not None:
            # The pool over a patch alone is its value path: one key takes all the attention.
            patches = trunk.attn_pool(patches.flatten(0, 1)[:, None]).unflatten(0, patches.shape[:2])
        return self._head(trunk.head(trunk.head_drop(trunk.fc_norm(patches))))


def image_tower(visual: nn.Module) -> ImageTower:
    """The split view of an open_clip vision module or of the embedded model's.

    Raises:
        ModelError: the module is no vision transformer that can be cut at a block.
    """
    if isinstance(visual, HybridTower):
        return visual
    if isinstance(visual, VisionTransformer):
        return NativeTower(visual)
    if isinstance(visual, TimmModel):
        return TimmTower(visual)
    raise ModelError(
        f"The image tower {type(visual).__name__} is no vision transformer.",
        NEEDS_VIT,
    )


def embed_patches(tower: ImageTower, tokens: Tensor) -> Tensor:
    """Patch embeddings in the text's space (eq. 7's v_i), not normalised.

    A tower whose image embedding is its class token was never taught what its last block makes of the patches: the
    class token takes their values and nothing else, and the residual stream that they keep blurs what they mean
    (ClearCLIP; Lan et al. 2024). There the values attend to the values like them (CLIP Surgery; Li et al. 2023), and
    what the last attention writes is projected, without residual and perceptron. Towers pooled by mean or attention
    were taught through their patch tokens, which are projected as they leave the last block.

    Args:
        tower: any; of blocks of an unknown kind the tokens are projected as they leave.
        tokens: (N, T, C), what enters the last block.

    Returns:
        (N, P, D), patches row by row.
    """
    if isinstance(tower, NativeTower | TimmTower) and tower.pools_class_token:
        written = _value_attention(tower.blocks[-1], tokens)
        if written is not None:
            return tower.project_patches(written)
    return tower.project_patches(run_blocks(tower.blocks[-1:], tokens))


def _value_attention(block: nn.Module, tokens: Tensor) -> Tensor | None:
    """What a block's attention writes (N, T, C) where values are also queries and keys; None for unknown blocks."""
    if isinstance(block, ResidualAttentionBlock):
        native = block.attn
        bias = None if native.in_proj_bias is None else native.in_proj_bias[-native.embed_dim :]
        value = functional.linear(block.ln_1(tokens), native.in_proj_weight[-native.embed_dim :], bias)
        return block.ls_1(native.out_proj(_attend_alike(value, native.num_heads)))
    if isinstance(block, Block) and type(block.attn) is Attention and block.attn.gate is None:
        attention = block.attn
        bias = None if attention.qkv.bias is None else attention.qkv.bias[-attention.attn_dim :]
        value = functional.linear(block.norm1(tokens), attention.qkv.weight[-attention.attn_dim :], bias)
        return block.ls1(attention.proj(attention.norm(_attend_alike(value, attention.num_heads))))
    return None


def _attend_alike(value: Tensor, heads: int) -> Tensor:
    """Softmax attention of values (N, T, C) over themselves."""
    parts = value.unflatten(-1, (heads, -1)).transpose(1, 2)
    return attend(parts, parts, parts).transpose(1, 2).flatten(2)


def check_layer(tower: ImageTower, layer: int) -> None:
    """Raise ModelError unless at least one block lies above `layer`."""
    if not 0 <= layer < tower.depth - 1:
        raise ModelError(
            f"The attention layer {layer} does not fit a model of {tower.depth} blocks.",
            f"Choose a layer from 0 to {tower.depth - 2} in the config.",
        )


def normaliser(visual: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
    """Channel means and standard deviations (1, 3, 1, 1) that the tower was trained with."""
    settings = getattr(visual, "preprocess_cfg", None) or {}
    mean = settings.get("mean") or getattr(visual, "image_mean", None) or (0.48145466, 0.4578275, 0.40821073)
    std = settings.get("std") or getattr(visual, "image_std", None) or (0.26862954, 0.26130258, 0.27577711)
    return (
        torch.tensor(mean, device=device).view(1, 3, 1, 1),
        torch.tensor(std, device=device).view(1, 3, 1, 1),
    )
