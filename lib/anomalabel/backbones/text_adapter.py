"""The medical language adapter: a small residual network behind a text tower (few_shot_localization.txt 4.3.2)."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.patch_encoders import hash_of
from anomalabel.backbones.towers import ImageTower
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.io.write import replacing

SCHEMA = "anomalabel.text_adapter/1"
REACH = 0.3
"""Longest change of a unit vector before it is made one again: none turns by more than 17.5 degrees (cosine 0.954).

Reports alone cannot see what a change does to the images' side of the space; without the bound they pull texts for
health and disease together as soon as both stand in the same reports."""

TRAIN_AGAIN = "Write it again with `anomalabel train language-adapter`."


class TextAdapter(nn.Module):
    """Text vectors to text vectors: normalise(v + r), r = up(gelu(down(v))) held shorter than `REACH`.

    Changes nothing until it has learned.

    Args:
        width: D, of the model's text vectors.
        hidden: of the bottleneck.
        model: the model it belongs to; with another one's vectors it means nothing.
        generator: on the CPU, for the first layer.
    """

    def __init__(self, width: int, hidden: int, model: ModelIdentity, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.model = model
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        with torch.no_grad():
            self.down.weight.copy_(torch.randn(hidden, width, generator=generator) / width**0.5)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, D) unit vectors, adapted, from (n, D) unit vectors."""
        change = self.up(functional.gelu(self.down(vectors)))
        held = change / (1 + change.square().sum(-1, keepdim=True) / REACH**2).sqrt()
        return functional.normalize(vectors + held, dim=-1)


class AdaptedModel:
    """An image-text model whose text vectors pass through an adapter; images are seen as before.

    Its identity is another than the model's and than that with any other adapter. The rest of the protocol
    `ImageTextModel` is the model's own.
    """

    def __init__(self, model: ImageTextModel, adapter: TextAdapter) -> None:
        both = f"{model.identity.weights_sha256} {hash_of(adapter)}"
        self.identity = ModelIdentity(
            name=f"{model.identity.name}+language-adapter", weights_sha256=hashlib.sha256(both.encode()).hexdigest()
        )
        self.device, self.dtype, self.side = model.device, model.dtype, model.side
        self.visual, self.logit_scale, self.context_width = model.visual, model.logit_scale, model.context_width
        self._model = model
        self._adapter = copy.deepcopy(adapter).eval().requires_grad_(False).to(model.device)

    @property
    def tower(self) -> ImageTower:
        """See `ImageTextModel.tower`."""
        return self._model.tower

    def normalise(self, images: Tensor) -> Tensor:
        return self._model.normalise(images)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            return self._adapter(self._model.encode_texts(texts))

    def encode_with_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        return self._adapter(self._model.encode_with_context(texts, context))

    def word_embeddings(self, text: str) -> Tensor:
        return self._model.word_embeddings(text)

    def spare_tokens(self, text: str) -> int:
        return self._model.spare_tokens(text)

    def unknown_words(self, texts: Sequence[str]) -> tuple[str, ...]:
        return self._model.unknown_words(texts)


def with_text_adapter(model: ImageTextModel, adapter: TextAdapter) -> AdaptedModel:
    """The model with its texts adapted; model and adapter stay as they are.

    Raises:
        ModelError: the adapter belongs to other weights.
    """
    _check_model(adapter.model, model.identity, "The language adapter")
    return AdaptedModel(model, adapter)


def write_text_adapter(adapter: TextAdapter, path: Path, training: Mapping[str, object]) -> None:
    """One safetensors file, whole or not at all.

    Args:
        training: JSON facts on how it was learned, kept in the file for people to read.

    Raises:
        OutputError: it cannot be written.
    """
    metadata = {
        "schema": SCHEMA,
        "model": adapter.model.name,
        "weights_sha256": adapter.model.weights_sha256,
        "training": json.dumps(dict(training), allow_nan=False),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in adapter.state_dict().items()}
    with replacing(path) as temporary:
        # Not save_file: its files are closed to every other user, a server's among them.
        temporary.write_bytes(save(weights, metadata))


def read_text_adapter(path: Path, model: ModelIdentity) -> TextAdapter:
    """The adapter in a file, on the CPU.

    Args:
        model: identity of the model it shall serve; the hash of the weights decides, since folders are renamed.

    Raises:
        ModelError: there is no such file, it is damaged or no adapter, or it belongs to another model.
    """
    if not path.is_file():
        raise ModelError(f"There is no language adapter {path}.", TRAIN_AGAIN)
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"The language adapter {path} cannot be read: {error}.", TRAIN_AGAIN) from error
    if metadata.get("schema") != SCHEMA:
        found = metadata.get("schema", "no schema")
        raise ModelError(f"{path} is no language adapter of this version ({found}, not {SCHEMA}).", TRAIN_AGAIN)
    owner = ModelIdentity(name=metadata.get("model", ""), weights_sha256=metadata.get("weights_sha256", ""))
    _check_model(owner, model, f"The language adapter {path}")
    return _build(weights, owner, path)


def _build(weights: dict[str, Tensor], owner: ModelIdentity, path: Path) -> TextAdapter:
    try:
        hidden, width = weights["down.weight"].shape
        adapter = TextAdapter(width, hidden, owner)
        adapter.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold the layers of a language adapter.", TRAIN_AGAIN) from error
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise ModelError(f"{path} holds weights that are not finite.", TRAIN_AGAIN)
    return adapter


def _check_model(owner: ModelIdentity, model: ModelIdentity, what: str) -> None:
    if owner.weights_sha256 != model.weights_sha256:
        raise ModelError(
            f"{what} belongs to {owner.name} with weights {owner.weights_sha256[:12]}, "
            f"not to {model.name} with weights {model.weights_sha256[:12]}.",
            "Train one for this model with `anomalabel train language-adapter`, or leave the adapter out.",
        )
