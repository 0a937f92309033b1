"""Where a vision transformer looks by itself, without any text: EAR's saliency (Park et al. 2024).

EAR takes the attention of DINO's class token over the patches in the last block, mean of the heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as functional
from open_clip.transformer import ResidualAttentionBlock
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from anomalabel.backbones.blocks import run_blocks
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import LOADING_ERRORS, first_line
from anomalabel.backbones.patch_encoders import ModulePatchEncoder
from anomalabel.backbones.refinement import attention_weights
from anomalabel.backbones.towers import NativeTower, TimmTower
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity


class ClassTokenAttention(ModulePatchEncoder):
    """Class-token attention of a timm vision transformer: a `PatchEncoder` with one level (N, 1, rows, columns).

    Values are shares of the class token's attention, mean of the heads; over all patches they sum to at most 1, as the
    class token and registers take the rest.

    Args:
        network: timm's name of a plain vision transformer with a class token.
        weights: file to read them from; None leaves them random, for tests.
        device: where it runs.
        dtype: precision it computes in.

    Raises:
        ModelError: no such network, one of another kind, or weights that do not fit.
    """

    level_weights = (1.0,)

    def __init__(
        self,
        network: str,
        weights: Path | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        module = _ClassTokenRow(network, weights)
        super().__init__(module, f"class-token self-attention of {network}", module.side, device, dtype)


class ModelSelfAttention:
    """Self-attention of an image-text model's own last block: a `PatchEncoder` with one level (N, 1, rows, columns).

    Of a tower whose image embedding is its class token, the class token's attention. A tower that pools its patches, as
    the embedded model's does, has no token that looks for the whole image: there it is the mean over the patches as
    queries, what every patch looks at. Either is the mean of the heads, and the name says which it is.

    Args:
        model: frozen image-text model with a plain ViT.

    Raises:
        ModelError: the image tower is no plain ViT, or its last block is of an unknown kind.
    """

    level_weights = (1.0,)
    text_level: int | None = None

    def __init__(self, model: ImageTextModel) -> None:
        tower = model.tower
        _check_block(tower.blocks[-1], model.identity.name)
        asks_class_token = isinstance(tower, NativeTower | TimmTower) and tower.pools_class_token
        self._queries = slice(0, 1) if asks_class_token else slice(tower.prefix_tokens, None)
        kind = "class-token self-attention" if asks_class_token else "mean self-attention"
        self.identity = ModelIdentity(
            name=f"{kind} of {model.identity.name}", weights_sha256=model.identity.weights_sha256
        )
        self.side = model.side
        self._model = model

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `PatchEncoder.patch_features`."""
        tower = self._model.tower
        with torch.inference_mode():
            tokens = run_blocks(tower.blocks[:-1], tower.embed(self._model.normalise(images)))
            weights = block_attention(tower.blocks[-1], tokens, self._queries)
            return (_on_grid(weights, tower.prefix_tokens, tower.grid),)


class _ClassTokenRow(nn.Module):
    """Grey images (N, side, side) in [0, 1] to the class token's attention (N, 1, rows, columns)."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, name: str, weights: Path | None) -> None:
        super().__init__()
        network = _build(name, weights)
        if not isinstance(network, VisionTransformer) or network.cls_token is None:
            raise ModelError(
                f"The timm network {name} is no plain vision transformer with a class token.",
                "Choose one such as vit_small_patch16_224.dino for self_attention.",
            )
        _check_block(network.blocks[-1], name)
        config = timm.data.resolve_model_data_config(network)
        self.side = int(config["input_size"][-1])
        self.register_buffer("_mean", torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("_std", torch.tensor(config["std"]).view(1, -1, 1, 1))
        self._network: Any = network
        rows, columns = self._network.patch_embed.grid_size
        self._grid = (rows, columns)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        network = self._network
        colour = (images[:, None].expand(-1, 3, -1, -1) - self._mean) / self._std
        tokens = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(colour))))
        tokens = run_blocks(network.blocks[:-1], tokens)
        weights = block_attention(network.blocks[-1], tokens, slice(0, 1))
        return (_on_grid(weights, network.num_prefix_tokens, self._grid),)


def block_attention(block: nn.Module, tokens: Tensor, queries: slice) -> Tensor:
    """Attention weights of a transformer block, which fused kernels never show.

    Args:
        block: of timm's or open_clip's plain vision transformers.
        tokens: (N, T, C), what enters the block.
        queries: which tokens ask.

    Returns:
        (N, heads, Q, T) float32, sum 1 over T.
    """
    if isinstance(block, ResidualAttentionBlock):
        native = block.attn
        width = 2 * native.embed_dim
        bias = None if native.in_proj_bias is None else native.in_proj_bias[:width]
        projected = functional.linear(block.ln_1(tokens), native.in_proj_weight[:width], bias)
        query, key = projected.unflatten(-1, (2, native.num_heads, -1)).unbind(2)
    else:
        timm_block: Any = block
        attention = timm_block.attn
        projected = attention.qkv(timm_block.norm1(tokens)).unflatten(-1, (3, attention.num_heads, -1))
        query, key = attention.q_norm(projected[:, :, 0]), attention.k_norm(projected[:, :, 1])
    return attention_weights(query[:, queries].transpose(1, 2).float(), key.transpose(1, 2).float())


def _on_grid(weights: Tensor, prefix_tokens: int, grid: tuple[int, int]) -> Tensor:
    """Mean of heads and queries, (N, 1, rows, columns), of weights (N, heads, Q, T)."""
    return weights.mean((1, 2))[:, None, prefix_tokens:].unflatten(2, grid)


def _check_block(block: nn.Module, name: str) -> None:
    plain = isinstance(block, Block) and type(block.attn) is Attention
    if not (plain or isinstance(block, ResidualAttentionBlock)):
        raise ModelError(
            f"The attention of {name} cannot be read: its last block is a {type(block).__name__}.",
            "Choose vit_small_patch16_224.dino or another plain vision transformer for self_attention.",
        )


def _build(name: str, weights: Path | None) -> nn.Module:
    if not timm.is_model(name):
        raise ModelError(f"timm knows no network '{name}'.", "List its networks with timm.list_models().")
    options: dict[str, Any] = {}
    if weights is not None:
        # Networks published in another framework's format read only that unless told otherwise.
        options["pretrained_cfg_overlay"] = {"file": str(weights), "custom_load": weights.suffix == ".npz"}
    try:
        return timm.create_model(name, pretrained=weights is not None, num_classes=0, **options)
    except LOADING_ERRORS as error:
        raise ModelError(
            f"The timm network {name} cannot be built: {first_line(error)}.",
            "Check the weights file; one is given as timm:NAME@FILE.",
        ) from error
