"""The image-text model that ships with the package: a hybrid image tower beside a small text transformer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anomalabel.backbones.hybrid import HybridSettings, HybridTower
from anomalabel.errors import ModelError

CONFIG_FILE = "embedded_config.json"
WEIGHTS_FILE = "embedded_model.safetensors"
LOGIT_SCALE = 10.0
"""Inverse temperature of image-text similarity. Low on purpose: a sure answer then needs a wide cosine, and the wider
the cosine, the more of CLAP's bottleneck follows the text rather than the noise."""


@dataclass(frozen=True)
class EmbeddedSettings:
    """Shape of the embedded model; text lengths count tokens."""

    image: HybridSettings = field(default_factory=HybridSettings)
    vocabulary: int = 1000
    context_length: int = 64
    text_width: int = 192
    text_heads: int = 3
    text_layers: int = 3

    def to_json(self) -> str:
        """What `read_settings` reads back."""
        own = {key: value for key, value in vars(self).items() if key != "image"}
        return json.dumps({"image": self.image.as_json(), **own}, indent=2)


class EmbeddedModel(nn.Module):
    """Image tower `visual` and text tower `text` with one embedding space, as open_clip's models have them."""

    logit_scale: Tensor

    def __init__(self, settings: EmbeddedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.visual = HybridTower(settings.image)
        self.text = TextTransformer(
            context_length=settings.context_length,
            vocab_size=settings.vocabulary,
            width=settings.text_width,
            heads=settings.text_heads,
            layers=settings.text_layers,
            output_dim=settings.image.embedding,
        )
        self.register_buffer("logit_scale", torch.tensor(math.log(LOGIT_SCALE)))

    def encode_text(self, codes: Tensor) -> Tensor:
        """Token codes (N, up to context_length) to text vectors (N, embedding), not normalised."""
        return self.text(codes)


def is_embedded_folder(folder: Path) -> bool:
    """Whether a folder holds a model of this kind."""
    return (folder / CONFIG_FILE).is_file()


def read_settings(folder: Path) -> EmbeddedSettings:
    """Settings of the model in a folder.

    Raises:
        ModelError: the file is missing, damaged or of another version.
    """
    path = folder / CONFIG_FILE
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        image = values.pop("image")
        image["feature_channels"] = tuple(image["feature_channels"])
        return EmbeddedSettings(image=HybridSettings(**image), **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} does not describe an embedded model: {error}.",
            "Copy the complete model folder, or train it again with this version.",
        ) from error


def load_embedded(folder: Path) -> EmbeddedModel:
    """Build the model of a folder with its weights, float32.

    Raises:
        ModelError: the settings cannot be read. What torch and safetensors raise on bad weights passes through.
    """
    model = EmbeddedModel(read_settings(folder))
    model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return model


def save_embedded(model: EmbeddedModel, folder: Path) -> None:
    """Write settings and weights (float16; counters as they are)."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).detach().contiguous()
        for name, value in model.state_dict().items()
    }
    (folder / CONFIG_FILE).write_text(model.settings.to_json(), encoding="utf-8")
    save_file(weights, folder / WEIGHTS_FILE)
