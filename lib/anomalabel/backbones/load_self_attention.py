"""Self-attention by name, with a stand-in where a network's weights cannot be had."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import load_model
from anomalabel.backbones.patch_encoders import TIMM_PREFIX, WEIGHTS_MARK, PatchEncoder
from anomalabel.backbones.self_attention import ClassTokenAttention, ModelSelfAttention
from anomalabel.backbones.timm_weights import find_timm_weights, weights_in
from anomalabel.errors import ModelError

LOGGER = logging.getLogger(__name__)


class ImageTextEncoders(Protocol):
    """What gives the image-text model; see backbones.encoders."""

    def image_text_model(self) -> ImageTextModel:
        """The image-text model.

        Raises:
            ModelError: it cannot be loaded, or there is none.
        """
        ...


@dataclass(frozen=True)
class LoadedSelfAttention:
    """A self-attention and where it came from.

    Args:
        encoder: one level (N, 1, rows, columns).
        name: loads the same again with `load_self_attention` and the same encoders.
        missing: the timm network that was asked for, where its weights could not be had; else None.
    """

    encoder: PatchEncoder
    name: str
    missing: str | None = None


def load_self_attention(name: str, encoders: ImageTextEncoders, stand_in: bool = True) -> LoadedSelfAttention:
    """Self-attention of the network called `name`, where the encoders' image-text model runs and as precise.

    Args:
        name: "timm:NAME" of a vision transformer with a class token, whose weights are taken from the caches of
            Hugging Face and PyTorch or else fetched; "timm:NAME@PLACE" with its weights in a file or folder; or the
            name of an image-text model.
        encoders: their model's own self-attention stands in where weights cannot be had.
        stand_in: False makes that an error, for trained models that need the very same as when they learned.

    Raises:
        ModelError: no such network or model, weights that do not fit, none at a place that was named, or the encoders
            have no image-text model.
    """
    model = encoders.image_text_model()
    if not name.startswith(TIMM_PREFIX):
        if name != model.identity.name:
            precise = model.dtype == torch.float32
            model = load_model(name, str(model.device), "float32" if precise else "bfloat16")
        return LoadedSelfAttention(ModelSelfAttention(model), name)
    network, _, place = name.removeprefix(TIMM_PREFIX).partition(WEIGHTS_MARK)
    weights = weights_in(Path(place)) if place else find_timm_weights(network)
    if weights is not None:
        return LoadedSelfAttention(ClassTokenAttention(network, weights, model.device, model.dtype), name)
    if not stand_in:
        raise ModelError(
            f"The weights of the timm network {network} are not here and cannot be fetched.",
            "Put them into the Hugging Face cache of this machine, or connect it to the network once.",
        )
    LOGGER.warning(
        "The weights of the timm network %s cannot be had; the attention of %s stands in.", network, model.identity.name
    )
    return LoadedSelfAttention(ModelSelfAttention(model), model.identity.name, missing=network)
