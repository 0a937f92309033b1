"""Feature maps of any timm network, with its weights from the cache or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import Format
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from anomalabel.backbones.loading import LOADING_ERRORS, first_line
from anomalabel.errors import ModelError

STRIDES = (8, 16)
TRANSFORMER_DEPTHS = (0.5, 0.75)
"""A plain transformer's maps have one stride: those after these shares of its blocks are taken."""


class TimmFeatures(nn.Module):
    """Two feature maps of a timm network.

    Args:
        name: of the timm network.
        weights: file to read them from, None for timm's cache, or the network where the cache lacks them.
        pretrained: False leaves them random, unless a file is given.
        side: pixels along each side of the input, None for the network's own.

    Raises:
        ModelError: no such network, no weights, or no maps at strides 8 and 16.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self, name: str, weights: Path | None = None, pretrained: bool = True, side: int | None = None
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ModelError(f"timm knows no network '{name}'.", "List its networks with timm.list_models().")
        if weights is not None and not weights.is_file():
            raise ModelError(f"There is no weights file {weights}.", "Give the file that holds the network's weights.")
        try:
            levels, fixed = _inspect(name)
            options: dict[str, Any] = {"img_size": side} if side is not None and fixed else {}
            if weights is not None:
                options["pretrained_cfg_overlay"] = {"file": str(weights)}
            loaded = pretrained or weights is not None
            network = timm.create_model(name, pretrained=loaded, features_only=True, out_indices=levels, **options)
        except LOADING_ERRORS as error:
            raise ModelError(
                f"The timm network {name} cannot be built: {first_line(error)}.",
                "Without network its weights must lie in timm's cache, or be given as a file: timm:NAME@FILE.",
            ) from error
        config = timm.data.resolve_model_data_config(network)
        self.side = side or int(config["input_size"][-1])
        self.register_buffer("_mean", torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("_std", torch.tensor(config["std"]).view(1, -1, 1, 1))
        self._channels_last = getattr(network, "output_fmt", None) == Format.NHWC
        self._network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (N, C, rows, columns) of grey images (N, side, side) in [0, 1]."""
        colour = (images[:, None].expand(-1, 3, -1, -1) - self._mean) / self._std
        maps = self._network(colour.contiguous(memory_format=torch.channels_last))
        return tuple(level.permute(0, 3, 1, 2) if self._channels_last else level for level in maps)


def _inspect(name: str) -> tuple[tuple[int, ...], bool]:
    """Which of a network's maps to take, and whether it is built for one size of input; allocates no weights."""
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False, features_only=True)
    fixed = bool(network.pretrained_cfg.get("fixed_input_size"))
    strides = list(network.feature_info.reduction())
    if set(STRIDES) <= set(strides):
        return tuple(strides.index(stride) for stride in STRIDES), fixed
    if isinstance(network, FeatureGetterNet) and len(set(strides)) == 1:
        transformer: Any = network.model
        depth = len(transformer.feature_info)
        return tuple(dict.fromkeys(max(round(share * depth) - 1, 0) for share in TRANSFORMER_DEPTHS)), fixed
    raise ModelError(f"The timm network {name} has no feature maps at strides 8 and 16.", "Choose another network.")
