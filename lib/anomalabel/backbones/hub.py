"""Fetches image-text models from the Hugging Face hub, or takes a copied folder, into the models folder."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from anomalabel.backbones.loading import (
    CONFIG_FILE,
    WEIGHT_FILES,
    find_weights,
    first_line,
    models_folder,
    read_config,
)
from anomalabel.config import BIOMEDCLIP, EMBEDDED
from anomalabel.errors import ModelError

HUB_NAMES = {BIOMEDCLIP: "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"}
"""Short names of models on the hub; any other open_clip model goes by its own OWNER/NAME."""

TEXT_CONFIG_FILE = "config.json"
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt")
TEXT_FILES = (TEXT_CONFIG_FILE, *VOCABULARY_FILES, "tokenizer_config.json", "special_tokens_map.json")
ITSELF = "."
"""Stands in the config for the folder itself, so that it may be copied anywhere; put right when it is loaded."""


def pull_model(name: str, source: Path | None = None, stored_as: str | None = None) -> Path:
    """Put a model into the models folder.

    Args:
        name: "biomedclip", or OWNER/NAME of an open_clip model on the hub.
        source: a folder that was copied here from a machine with network; None fetches from the hub.
        stored_as: name to store it under; the short name, or the last part of OWNER/NAME by default.

    Returns:
        The model's folder, complete: nothing is left there when the work fails.

    Raises:
        ModelError: no network, no such model, an incomplete folder, or a models folder that cannot be written.
    """
    stored = name.rsplit("/", 1)[-1] if stored_as is None else stored_as
    if stored in {EMBEDDED, "", "..", "."} or Path(stored).name != stored:
        raise ModelError(f"'{stored}' cannot be the name of a pulled model.", "Choose another one with --as.")
    target = models_folder() / stored
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=models_folder()) as temporary:
            folder = Path(temporary) / "model"
            if source is None:
                _fetch(HUB_NAMES.get(name, name), folder)
            else:
                _copy(source, folder)
            find_weights(folder)
            _point_text_tower_at_itself(folder)
            if target.exists():
                shutil.rmtree(target)
            folder.rename(target)
    except OSError as error:
        raise ModelError(
            f"The model cannot be stored as {target}: {error}.",
            "Set ANOMALABEL_MODELS to a writable folder with enough space.",
        ) from error
    return target


def _point_text_tower_at_itself(folder: Path) -> None:
    """Rewrite the hub names of text tower and tokenizer in `open_clip_config.json` to the folder itself.

    Raises:
        ModelError: the files that these names stand for are not in the folder.
    """
    config = read_config(folder)
    text = config["model_cfg"]["text_cfg"]
    named = {key: text[key] for key in ("hf_model_name", "hf_tokenizer_name") if key in text}
    if not named:
        return
    vocabulary = any((folder / file).is_file() for file in VOCABULARY_FILES)
    if not (vocabulary and (folder / TEXT_CONFIG_FILE).is_file()):
        raise ModelError(
            f"The model lacks the files of its text tower: {TEXT_CONFIG_FILE} and {' or '.join(VOCABULARY_FILES)}.",
            f"Copy them from {' and '.join(sorted(set(named.values())))} into the folder.",
        )
    text.update(dict.fromkeys(named, ITSELF))
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2), encoding="utf-8")


def _copy(source: Path, folder: Path) -> None:
    try:
        read_config(source)
        find_weights(source)
        shutil.copytree(source, folder)
    except OSError as error:
        raise ModelError(
            f"{source} cannot be copied: {error}.", "Check that its files may be read and that there is enough space."
        ) from error


def _fetch(repository: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, local_dir=folder, allow_patterns=[CONFIG_FILE])
        text = read_config(folder)["model_cfg"]["text_cfg"]
        snapshot_download(repository, local_dir=folder, allow_patterns=[*WEIGHT_FILES, *TEXT_FILES])
        for named in {text.get("hf_model_name"), text.get("hf_tokenizer_name")} - {None, repository}:
            missing = [file for file in TEXT_FILES if not (folder / file).is_file()]
            snapshot_download(named, local_dir=folder, allow_patterns=missing)
    except fetching_errors() as error:
        raise ModelError(
            f"{repository} cannot be fetched from the hub: {first_line(error)}.",
            "On a machine without network copy the model's folder here and use `anomalabel models pull NAME --from "
            "FOLDER`; otherwise check the name and the network.",
        ) from error


def fetching_errors() -> tuple[type[Exception], ...]:
    """No network, a bad name, a broken proxy; each main version of huggingface_hub speaks HTTP by another package."""
    from huggingface_hub.errors import HFValidationError

    loaded = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (HFValidationError, OSError, *(module.HTTPError for module in loaded))
