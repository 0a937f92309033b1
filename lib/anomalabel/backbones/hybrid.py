"""The embedded model's image tower: residual convolutions down to stride 16, then transformer blocks.

A plain ViT learns from ten thousand images hardly what an edge is; convolutions have that built in ("Early
convolutions help transformers see better", Xiao et al. 2021). The transformer keeps the tokens that CLAP's
bottleneck works on; the convolutions keep fine patch features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as functional
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from anomalabel.backbones.blocks import run_blocks

FINE_STRIDE, COARSE_STRIDE = 8, 16
FEATURE_LEVELS = (2, 3)
"""timm's numbers of the feature maps at these strides."""


@dataclass(frozen=True)
class HybridSettings:
    """Shape of a `HybridTower`.

    Args:
        trunk: name of a timm network with feature maps at strides 8 and 16.
        feature_channels: of the patch features at strides 8 and 16 that are distilled from a teacher.
        embedding: length of the image and text vectors.
    """

    image_size: int = 224
    trunk: str = "resnet18"
    depth: int = 4
    heads: int = 4
    embedding: int = 192
    feature_channels: tuple[int, int] = (32, 96)
    mean: float = 0.3
    std: float = 0.28

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `HybridSettings(**values)` takes them back."""
        return asdict(self)


class HybridTower(nn.Module):
    """An `ImageTower` (see backbones.towers) without class token, pooled by learned weights.

    The image embedding is the weighted mean of the patch embeddings, so that text, patches and image share one space,
    and a small lesion need not be averaged away (attention-based pooling, Ilse et al. 2018).

    Raises:
        ValueError: the trunk has no feature maps at strides 8 and 16, or the image size is no multiple of 16.
    """

    prefix_tokens = 0
    position: Tensor

    def __init__(self, settings: HybridSettings) -> None:
        super().__init__()
        trunk: Any = timm.create_model(settings.trunk, pretrained=False, features_only=True, out_indices=FEATURE_LEVELS)
        self.trunk = trunk
        if tuple(trunk.feature_info.reduction()) != (FINE_STRIDE, COARSE_STRIDE):
            raise ValueError(f"{settings.trunk} has no feature maps at strides {FINE_STRIDE} and {COARSE_STRIDE}")
        if settings.image_size % COARSE_STRIDE:
            raise ValueError(f"the image size {settings.image_size} is no multiple of {COARSE_STRIDE}")
        fine, self.width = trunk.feature_info.channels()
        side = settings.image_size // COARSE_STRIDE
        self.image_size = (settings.image_size, settings.image_size)
        self.preprocess_cfg = {"mean": [settings.mean] * 3, "std": [settings.std] * 3}
        self._mean, self._std = settings.mean, settings.std
        self.grid = (side, side)
        self.depth = settings.depth
        self.fine_head = nn.Conv2d(fine, settings.feature_channels[0], 1)
        self.coarse_head = nn.Conv2d(self.width, settings.feature_channels[1], 1)
        self.norm_tokens = nn.LayerNorm(self.width)
        position = build_sincos2d_pos_embed(list(self.grid), self.width)
        self.position_scale = nn.Parameter(torch.tensor(0.1))
        self.register_buffer("position", position, persistent=False)
        self.blocks = nn.ModuleList(Block(self.width, settings.heads) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(self.width)
        self.projection = nn.Linear(self.width, settings.embedding, bias=False)
        self.pooling = nn.Linear(self.width, 1)

    def normalise(self, images: Tensor) -> Tensor:
        """Grey images (N, side, side) in [0, 1] to what the trunk takes (N, 3, side, side)."""
        return ((images - self._mean) / self._std)[:, None].expand(-1, 3, -1, -1)

    def feature_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk's maps (N, C, side / 8, side / 8) and (N, width, side / 16, side / 16) of normalised images."""
        fine, coarse = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return fine, coarse

    def patch_features(self, maps: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The distilled features of the trunk's maps at strides 8 and 16, (N, channels, rows, columns) each."""
        return self.fine_head(maps[0]), self.coarse_head(maps[1])

    def patch_embeddings(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        """Unit vectors (N, embedding, rows, columns) in the text's space, from the trunk's maps."""
        patches = self.project_patches(run_blocks(self.blocks, self.tokens(maps[1])))
        return functional.normalize(patches, dim=-1).transpose(1, 2).unflatten(2, self.grid)

    def tokens(self, coarse: Tensor) -> Tensor:
        """The trunk's map at stride 16 to the tokens (N, T, width) that enter the first block."""
        return self.norm_tokens(coarse.flatten(2).transpose(1, 2)) + self.position_scale * self.position

    def embed(self, images: Tensor) -> Tensor:
        return self.tokens(self.feature_maps(images)[1])

    def tokens_after(self, images: Tensor, layer: int) -> Tensor:
        return run_blocks(self.blocks[: layer + 1], self.embed(images))

    def embed_from(self, tokens: Tensor, layer: int) -> Tensor:
        tokens = self.norm(run_blocks(self.blocks[layer + 1 :], tokens))
        weights = self.pooling(tokens).softmax(dim=1)
        return self.projection((weights * tokens).sum(1))

    def project_patches(self, tokens: Tensor) -> Tensor:
        return self.projection(self.norm(tokens))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, side, side) to embeddings (N, embedding), not normalised."""
        return self.embed_from(self.tokens_after(images, self.depth - 1), self.depth - 1)
