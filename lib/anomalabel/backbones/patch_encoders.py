"""Frozen networks that turn pictures into maps of patch features: what normal banks and few-shot methods stand on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from anomalabel.backbones.blocks import run_blocks
from anomalabel.backbones.device import Precision, choose_device, choose_dtype
from anomalabel.backbones.hybrid import HybridTower
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import load_model
from anomalabel.backbones.resnet import convolutional_trunk
from anomalabel.backbones.timm_features import TimmFeatures
from anomalabel.backbones.towers import embed_patches
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity

TIMM_PREFIX = "timm:"
WEIGHTS_MARK = "@"
"""`timm:NAME@FILE` reads the weights of the timm network NAME from a file."""

TEXT_LEVEL_WEIGHT = 2.0
"""Of the patch embeddings beside each of the distilled levels. On anatomies that the model was trained on more would be
better, on one left out of the training (chest) less; between the two."""

FOREIGN_TEXT_LEVEL_WEIGHT = 0.0
"""Of the patch embeddings of models that were not trained here: they serve comparisons with texts, and a normal bank is
what it is without them. PatchCore's published features are those of the middle alone; what the last layer adds depends
on the model, and nobody measured it."""

TOKEN_DEPTHS = (0.5, 0.75)
"""After these shares of a transformer's blocks its tokens are taken: past edges, before words."""


class PatchEncoder(Protocol):
    """A frozen network with one vector per patch, at one or several resolutions."""

    @property
    def identity(self) -> ModelIdentity:
        """Name and hash of the weights; equal hashes promise equal features."""
        ...

    @property
    def side(self) -> int:
        """Pixels along each side of its square input."""
        ...

    @property
    def level_weights(self) -> tuple[float, ...]:
        """How much each level counts in a distance, none negative, 0 = not at all; () = alike."""
        ...

    @property
    def text_level(self) -> int | None:
        """Which level holds unit vectors in the space of the model's texts; None for networks without text."""
        ...

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of grey images.

        Args:
            images: (N, side, side) in [0, 1], on any device.

        Returns:
            (N, C_l, rows_l, columns_l) float32 for each level l, each map covering the whole input.
        """
        ...


class ModulePatchEncoder:
    """Any torch module, or several networks in one, as a patch encoder.

    Args:
        module: takes (N, side, side) in [0, 1], returns maps (N, C_l, rows_l, columns_l); frozen here.
        name: what reports call it.
        side: pixels along each side of its input.
        device: where it runs.
        dtype: precision it computes in.
    """

    level_weights: tuple[float, ...] = ()
    text_level: int | None = None

    def __init__(
        self,
        module: nn.Module,
        name: str,
        side: int = 224,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.identity = ModelIdentity(name=name, weights_sha256=hash_of(module))
        self.side = side
        self._device = device or torch.device("cpu")
        self._dtype = dtype
        self._module = module.eval().requires_grad_(False).to(self._device, dtype)

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            maps = self._module(images.to(self._device, self._dtype))
            return tuple(level.float().contiguous() for level in maps)


class TimmPatchEncoder(ModulePatchEncoder):
    """A timm network's feature maps at strides 8 and 16; of a plain vision transformer, the tokens at two depths.

    Args:
        name: of the timm network.
        weights: file to read them from; None reads timm's cache, and the network where the cache lacks them.
        pretrained: False leaves the weights random, for tests and as the lowest floor.
        side: pixels along each side of the input; None takes what the network was trained with.

    Raises:
        ModelError: no such network, no weights to be had, or no maps at these strides.
    """

    def __init__(
        self,
        name: str,
        weights: Path | None = None,
        pretrained: bool = True,
        side: int | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        network = TimmFeatures(name, weights, pretrained, side)
        super().__init__(network, f"{TIMM_PREFIX}{name}", network.side, device, dtype)


class TokenPatchEncoder:
    """The patch tokens of an image-text model's transformer after some of its blocks, and its patch embeddings.

    The last level holds the embeddings, unit vectors in the text's space (see `towers.embed_patches`).

    Args:
        model: frozen.
        layers: blocks, counted from 0, ascending; None takes those at `TOKEN_DEPTHS`.

    Raises:
        ModelError: the model's image tower is no ViT, or a layer that it does not have.
    """

    def __init__(self, model: ImageTextModel, layers: tuple[int, ...] | None = None) -> None:
        depth = model.tower.depth
        chosen = layers or tuple(dict.fromkeys(max(round(share * depth) - 1, 0) for share in TOKEN_DEPTHS))
        if list(chosen) != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= depth:
            raise ModelError(
                f"The layers {chosen} do not fit a model of {depth} blocks.",
                f"Choose ascending layers from 0 to {depth - 1}.",
            )
        self.identity, self.side = model.identity, model.side
        self.level_weights = (1.0,) * len(chosen) + (FOREIGN_TEXT_LEVEL_WEIGHT,)
        self.text_level = len(chosen)
        self._model, self._layers = model, chosen

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        tower = self._model.tower
        before_last = tower.depth - 2
        levels, done = [], 0
        with torch.inference_mode():
            tokens = tower.embed(self._model.normalise(images))
            for layer in sorted({*self._layers, before_last}):
                tokens, done = run_blocks(tower.blocks[done : layer + 1], tokens), layer + 1
                if layer in self._layers:
                    levels.append(tokens[:, tower.prefix_tokens :].float())
                if layer == before_last:
                    embeddings = functional.normalize(embed_patches(tower, tokens).float(), dim=-1)
            levels.append(embeddings)
            return tuple(level.transpose(1, 2).unflatten(2, tower.grid).contiguous() for level in levels)


class ResNetPatchEncoder:
    """The feature maps of an image-text model's convolutional tower at strides 8 and 16, and its patch embeddings.

    The last level holds the embeddings, unit vectors at stride 32 in the text's space.

    Raises:
        ModelError: the image tower is of another kind.
    """

    level_weights = (1.0, 1.0, FOREIGN_TEXT_LEVEL_WEIGHT)
    text_level = 2

    def __init__(self, model: ImageTextModel) -> None:
        trunk = convolutional_trunk(model.visual)
        if trunk is None:
            raise ModelError(
                f"The image tower of {model.identity.name} has no feature maps at strides 8 and 16.",
                "Take its tokens: TokenPatchEncoder.",
            )
        self.identity, self.side = model.identity, model.side
        self._model, self._trunk = model, trunk

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            normalised = self._model.normalise(images).contiguous(memory_format=torch.channels_last)
            fine, coarse, embeddings = (level.float() for level in self._trunk.levels(normalised))
            levels = (fine, coarse, functional.normalize(embeddings, dim=1))
            return tuple(level.contiguous() for level in levels)


class HybridPatchEncoder:
    """Patch features of an image-text model whose tower is a `HybridTower`: distilled ones, and the text's space.

    Three levels: the features distilled from a general-purpose teacher at strides 8 and 16, and the patch embeddings at
    stride 16, which know what texts call disease. The last count more: they are right about which image is sick, the
    others about where it begins.

    Raises:
        ModelError: the tower is of another kind.
    """

    level_weights = (1.0, 1.0, TEXT_LEVEL_WEIGHT)
    text_level = 2

    def __init__(self, model: ImageTextModel) -> None:
        if not isinstance(model.visual, HybridTower):
            raise ModelError(
                f"The image tower of {model.identity.name} has no distilled patch features.",
                "Take its tokens: TokenPatchEncoder.",
            )
        self.identity, self.side = model.identity, model.side
        self._model, self._tower = model, model.visual

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            maps = self._tower.feature_maps(self._model.normalise(images))
            levels = (*self._tower.patch_features(maps), self._tower.patch_embeddings(maps))
            return tuple(level.float().contiguous() for level in levels)


def patch_encoder_of(model: ImageTextModel) -> PatchEncoder:
    """The best patch features that an image-text model has.

    Raises:
        ModelError: its image tower is neither a plain ViT nor convolutional.
    """
    if isinstance(model.visual, HybridTower):
        return HybridPatchEncoder(model)
    return TokenPatchEncoder(model) if convolutional_trunk(model.visual) is None else ResNetPatchEncoder(model)


def load_patch_encoder(name: str, device: str = "auto", precision: Precision = "auto") -> PatchEncoder:
    """A patch encoder by name.

    Args:
        name: "embedded", "biomedclip", another pulled name or a model folder; or "timm:NAME" for a network of timm,
            "timm:NAME@FILE" with its weights in a file.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto" is bfloat16 where the hardware computes in it.

    Raises:
        ModelError: there is no such encoder or it cannot be loaded.
    """
    if not name.startswith(TIMM_PREFIX):
        return patch_encoder_of(load_model(name, device, precision))
    network, _, weights = name.removeprefix(TIMM_PREFIX).partition(WEIGHTS_MARK)
    where = choose_device(device)
    return TimmPatchEncoder(
        network, Path(weights) if weights else None, device=where, dtype=choose_dtype(where, precision)
    )


def hash_of(module: nn.Module) -> str:
    """Hexadecimal SHA-256 of a module's parameters and buffers, names and shapes included."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
