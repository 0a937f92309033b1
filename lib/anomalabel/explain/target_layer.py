"""The layer of an image network that Grad-CAM explains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import timm
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from anomalabel.backbones.hybrid import HybridTower
from anomalabel.errors import ModelError

Layer = Literal["map", "tokens"]


@dataclass(frozen=True)
class TargetLayer:
    """A layer and what makes maps of its output.

    Args:
        module: its name inside the image network.
        to_maps: output, or gradient of it, to (N, C, rows, columns) float32.
    """

    module: str
    to_maps: Callable[[Tensor], Tensor]


def target_layer(network: nn.Module, layer: Layer | None, preferred: Layer) -> TargetLayer:
    """The last layer of an image network that still knows places.

    Of a ResNet, the last convolutional stage. Of a transformer that reads its answer off the class token, the norm
    before the last attention: behind it, what patch tokens hold no longer matters. Of other transformers, the last
    block. Of the embedded model's tower, the last convolutions (stride 16) or the tokens as they are pooled.

    Args:
        layer: None takes the preferred one, or the other where it is the only one.

    Raises:
        ModelError: the network has no such layer, or is of an unknown kind.
    """
    found = _layers(network)
    if layer is None and found:
        return found.get(preferred) or next(iter(found.values()))
    if layer is not None and layer in found:
        return found[layer]
    has = f"no {layer}" if found else "no layer that is known"
    raise ModelError(
        f"The image network {type(network).__name__} has {has} to explain by Grad-CAM.",
        f"Choose {' or '.join(found)}." if found else "Choose a model whose image tower is a ViT or a ResNet.",
    )


def _layers(network: nn.Module) -> dict[str, TargetLayer]:
    """By kind."""
    if isinstance(network, HybridTower):
        last = [name for name, _ in network.trunk.named_children()][-1]
        return {"map": TargetLayer(f"trunk.{last}", _float), "tokens": TargetLayer("norm", _from_tokens(network.grid))}
    if isinstance(network, ModifiedResNet):
        return {"map": TargetLayer("layer4", _float)}
    if isinstance(network, VisionTransformer):
        last = f"transformer.resblocks.{len(network.transformer.resblocks) - 1}"
        class_token = network.attn_pool is None and network.pool_type == "tok"
        return {"tokens": TargetLayer(f"{last}.ln_1" if class_token else last, _from_tokens(network.grid_size))}
    if isinstance(network, TimmModel):
        return _timm_layers(network.trunk)
    return {}


def _timm_layers(trunk: nn.Module) -> dict[str, TargetLayer]:
    if isinstance(trunk, timm.models.VisionTransformer):
        last = f"trunk.blocks.{len(trunk.blocks) - 1}"
        class_token = trunk.global_pool == "token" and hasattr(trunk.blocks[-1], "norm1")
        name = f"{last}.norm1" if class_token else last
        return {"tokens": TargetLayer(name, _from_tokens(trunk.patch_embed.grid_size))}
    if isinstance(trunk, timm.models.ResNet | timm.models.ByobNet | timm.models.RegNet | timm.models.ConvNeXt):
        return {"map": TargetLayer(f"trunk.{trunk.feature_info[-1]['module']}", _float)}
    return {}


def _float(level: Tensor) -> Tensor:
    """NumPy, where the library goes on, has no bfloat16."""
    return level.float()


def _from_tokens(grid: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Tokens (N, T, C) to maps: the patch grid comes last, class and register tokens before it are dropped."""
    rows, columns = grid
    return lambda tokens: tokens[:, -rows * columns :].float().transpose(1, 2).unflatten(2, (rows, columns))
