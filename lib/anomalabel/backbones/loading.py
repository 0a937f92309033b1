"""Finds image-text models by name and loads them from a folder; nothing here touches the network."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
from safetensors import SafetensorError
from torch import nn

from anomalabel.backbones import embedded_model
from anomalabel.backbones.device import Precision, choose_device, choose_dtype
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.config import BIOMEDCLIP, EMBEDDED
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.io.content import file_sha256

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""In open_clip's own order of preference, so that the hash is that of the file it loads."""

MERGES_FILE = "bpe_merges.txt.gz"
VOCABULARY_FILE = "vocabulary.json"

LOADING_ERRORS = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    UnpicklingError,
    ValueError,
)
"""What open_clip, transformers and safetensors raise on incomplete or damaged folders."""


def models_folder() -> Path:
    """Where pulled models lie: $ANOMALABEL_MODELS, or the user's cache folder."""
    chosen = os.environ.get("ANOMALABEL_MODELS")
    return Path(chosen) if chosen else Path.home() / ".cache" / "anomalabel" / "models"


def find_model_folder(name_or_path: str) -> Path:
    """The folder of the embedded model, of a pulled one, or the one given.

    Raises:
        ModelError: there is no such model.
    """
    if name_or_path == EMBEDDED:
        with as_file(files("anomalabel.backbones") / "embedded_weights") as folder:
            return Path(folder)
    pulled, folder = models_folder() / name_or_path, Path(name_or_path)
    # A name that is too long for the file system is no model either.
    with suppress(OSError):
        if folder.name == name_or_path and is_model_folder(pulled):
            return pulled
        if name_or_path and folder.is_dir():
            return folder
    remedy = (
        "Run `anomalabel models pull biomedclip`, where there is no network with --from FOLDER."
        if name_or_path == BIOMEDCLIP
        else "Run `anomalabel models list`, or give the folder of an open_clip model."
    )
    raise ModelError(f"There is no model '{name_or_path}'.", remedy)


def load_model(name_or_path: str, device: str = "auto", precision: Precision = "auto") -> OpenClipModel:
    """Load an image-text model for inference.

    Args:
        name_or_path: "embedded", "biomedclip" or another pulled name, or a folder that holds
            `open_clip_config.json`, weights and, where the config names one, a Hugging Face tokenizer; or what
            `anomalabel train embedded` writes.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the image tower; "auto" is bfloat16 where the hardware has it.

    Raises:
        ModelError: no such model, or an incomplete folder.
    """
    folder = find_model_folder(name_or_path)
    where = choose_device(device)
    if not embedded_model.is_embedded_folder(folder):
        read_config(folder)
    weights = find_weights(folder)
    try:
        model, tokenizer = _load_parts(folder)
        vocabulary = _read_vocabulary(folder)
    except LOADING_ERRORS as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded: {first_line(error)}.",
            "Run `anomalabel models check` on it; pull it again if a file is damaged.",
        ) from error
    identity = ModelIdentity(name=Path(name_or_path).resolve().name, weights_sha256=file_sha256(weights))
    dtype = choose_dtype(where, precision)
    return OpenClipModel(model, tokenizer, identity, where, dtype, vocabulary)


def is_model_folder(folder: Path) -> bool:
    """Whether a folder describes an image-text model."""
    return (folder / CONFIG_FILE).is_file() or embedded_model.is_embedded_folder(folder)


def find_weights(folder: Path) -> Path:
    """The weights file of a model folder.

    Raises:
        ModelError: the folder holds none.
    """
    for name in (embedded_model.WEIGHTS_FILE, *WEIGHT_FILES):
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        f"{folder} holds no weights (looked for {', '.join(WEIGHT_FILES)}).",
        "Copy the complete model folder, or pull the model again.",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """`open_clip_config.json` of a model folder.

    Raises:
        ModelError: it is missing, no JSON, or lacks model_cfg with vision_cfg and text_cfg.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no {CONFIG_FILE}.", "Give the folder of an open_clip model.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.", "Copy or pull the model again.") from error
    parts = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(parts.get(key), dict) for key in ("vision_cfg", "text_cfg")):
        raise ModelError(f"{path} describes no vision_cfg and text_cfg.", "Copy or pull the model again.")
    return config


def _load_parts(folder: Path) -> tuple[nn.Module, open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer]:
    """Network and tokenizer of a model folder."""
    if embedded_model.is_embedded_folder(folder):
        model = embedded_model.load_embedded(folder)
        length = model.settings.context_length
        return model, open_clip.SimpleTokenizer(bpe_path=str(folder / MERGES_FILE), context_length=length)
    config = read_config(folder)
    return open_clip.create_model(f"local-dir:{folder}", **_text_override(folder, config)), _load_tokenizer(folder)


def _text_override(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """A Hugging Face text tower is built from the files of the folder itself, wherever it was copied to.

    Its weights come with the model's: without `hf_model_pretrained` open_clip looks for a second file of them.
    """
    text = config["model_cfg"]["text_cfg"]
    own = {"hf_model_name": str(folder), "hf_model_pretrained": False}
    return {"text_cfg": {**text, **own}} if "hf_model_name" in text else {}


def _load_tokenizer(folder: Path) -> open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer:
    merges = folder / MERGES_FILE
    if merges.is_file():
        return open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(merges))
    return open_clip.get_tokenizer(f"local-dir:{folder}")


def _read_vocabulary(folder: Path) -> frozenset[str] | None:
    path = folder / VOCABULARY_FILE
    return frozenset(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def first_line(error: BaseException) -> str:
    """An error's text for one line of ours, without the stop at its end; its kind where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
