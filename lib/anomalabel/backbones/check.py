"""Facts about an image-text model, found by running it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.hub import HUB_NAMES
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import find_model_folder, is_model_folder, load_model, models_folder
from anomalabel.backbones.resnet import convolutional_trunk
from anomalabel.config import EMBEDDED
from anomalabel.errors import ModelError

TIMED_RUNS = 5


@dataclass(frozen=True)
class ListedModel:
    """A model by name, where it lies, or None where it has not been pulled."""

    name: str
    folder: Path | None


@dataclass(frozen=True)
class ModelFacts:
    """What a model is, as it ran here.

    Args:
        side: pixels along its square input.
        grid: patches (rows, columns); of a convolutional tower those at stride 16.
        depth: blocks; 0 for a convolutional tower, on which CLAP cannot run.
        dtype: precision of the image tower here.
        milliseconds: median of one image's forward pass.
        texts_differ: cosine between the vectors of "normal" and "tumor"; 1 would mean that it cannot tell them apart.
    """

    name: str
    weights_sha256: str
    side: int
    grid: tuple[int, int]
    depth: int
    device: str
    dtype: str
    milliseconds: float
    texts_differ: float


def list_models() -> tuple[ListedModel, ...]:
    """The embedded model, the short names of the hub, and everything pulled.

    Raises:
        ModelError: the models folder may not be read.
    """
    folder = models_folder()
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        pulled = {path.name: path for path in entries if is_model_folder(path)}
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error}.", "Set ANOMALABEL_MODELS to a readable folder.") from error
    names = dict.fromkeys((EMBEDDED, *HUB_NAMES, *pulled))
    return tuple(
        ListedModel(name, find_model_folder(EMBEDDED) if name == EMBEDDED else pulled.get(name)) for name in names
    )


def check_model(name_or_path: str, device: str = "auto") -> ModelFacts:
    """Load a model, encode two texts and an image, and report.

    Raises:
        ModelError: it cannot be loaded, or its vectors are not finite.
    """
    model = load_model(name_or_path, device)
    texts = model.encode_texts(["normal", "tumor"])
    image = model.normalise(torch.rand(1, model.side, model.side))
    grid, depth, embed = _image_network(model)
    durations = []
    with torch.inference_mode():
        for _ in range(TIMED_RUNS):
            start = time.perf_counter()
            vector = embed(image).float()
            durations.append(time.perf_counter() - start)
    if not (torch.isfinite(texts).all() and torch.isfinite(vector).all()):
        raise ModelError(f"The model {name_or_path} gives vectors that are not finite.", "Pull it again.")
    return ModelFacts(
        name=model.identity.name,
        weights_sha256=model.identity.weights_sha256,
        side=model.side,
        grid=grid,
        depth=depth,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        milliseconds=1000 * statistics.median(durations),
        texts_differ=float(functional.cosine_similarity(texts[0], texts[1], dim=0)),
    )


def _image_network(model: ImageTextModel) -> tuple[tuple[int, int], int, Callable[[Tensor], Tensor]]:
    """Grid and depth of the image tower, and what embeds a normalised image.

    Raises:
        ModelError: the tower is neither a plain ViT nor convolutional.
    """
    trunk = convolutional_trunk(model.visual)
    if trunk is None:
        tower, last = model.tower, model.tower.depth - 1
        return tower.grid, tower.depth, lambda image: tower.embed_from(tower.tokens_after(image, last), last)
    with torch.inference_mode():
        coarse = trunk.levels(model.normalise(torch.zeros(1, model.side, model.side)))[1]
    rows, columns = coarse.shape[2:]
    return (rows, columns), 0, model.visual
