"""A trained model's folder: written so that a reader always finds one whole model, and read with every check.

    FOLDER/weights.safetensors   tensors and description in one file: the model
    FOLDER/model.json            the description once more, for people and other programs
    FOLDER/curves.png            how training went
    FOLDER/previous/             the same of the model before

The description travels inside the weights file, since replacing one file is the only change that every file system
makes in one step (POSIX, NFS, SMB, and a Docker volume, which cannot be renamed). Two files side by side can be seen
half changed, a symbolic link is refused by many shares and breaks when the folder is copied to a stick, and a whole
folder cannot be renamed over another. Whoever has opened the old file goes on reading the old model.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from anomalabel.errors import ModelError, OutputError
from anomalabel.finding import ModelIdentity
from anomalabel.model_folder.description import TrainedModel, parse_description
from anomalabel.model_folder.tensor_file import (
    ForeignFileError,
    Label,
    TensorFileError,
    hash_of_tensors,
    pack,
    read_label,
    unpack,
)
from anomalabel.model_folder.whole_files import stage, sync, unwritable, write_synced

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "model.json"
CURVES_FILE = "curves.png"
PREVIOUS_FOLDER = "previous"

LOGGER = logging.getLogger(__name__)


def check_model_folder(folder: Path, needed_bytes: int = 0) -> None:
    """Before a long training: that its model can be written here.

    Args:
        needed_bytes: that will be written, as far as it is known.

    Raises:
        OutputError: the folder cannot be written, its disk has too little space, or its `weights.safetensors` is
            somebody else's.
    """
    path = folder / WEIGHTS_FILE
    try:
        if path.exists():
            read_label(path)
    except ForeignFileError as error:
        raise OutputError(
            f"{path} was not written by AnomaLabel.", "Choose another folder, or move the file."
        ) from error
    except TensorFileError:
        LOGGER.warning("%s is damaged; the new model takes its place.", path)
    except OSError as error:
        raise unwritable(folder, error) from error
    with stage(folder) as staged:
        if shutil.disk_usage(staged).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_model_folder(
    folder: Path, model: TrainedModel, tensors: Mapping[str, Tensor], curves: Callable[[Path], None] | None = None
) -> TrainedModel:
    """Write a trained model, or put it in the place of the one that is there.

    Everything is written and synced first; then one file is replaced, and with it the model. Of two writers at once the
    last one wins, with a whole model. The model before goes to `previous`.

    Args:
        model: its `weights_sha256` is filled in here.
        tensors: by name, on any device, at least one; all finite.
        curves: draws them into the PNG file it is given.

    Returns:
        What was written.

    Raises:
        ModelError: a tensor is not finite.
        OutputError: the folder cannot be written, its disk is full, or its `weights.safetensors` is somebody else's.
            The model that was there stays, and nothing half-written is left.
    """
    require_finite(tensors, "The trained model")
    check_model_folder(folder)
    written = model.model_copy(update={"weights_sha256": hash_of_tensors(tensors)})
    with stage(folder) as staged:
        write_synced(staged / WEIGHTS_FILE, pack(written.to_json(), tensors))
        write_synced(staged / DESCRIPTION_FILE, written.to_json().encode())
        if curves is not None:
            curves(staged / CURVES_FILE)
            sync(staged / CURVES_FILE)
        _keep_previous(folder, staged)
        (staged / WEIGHTS_FILE).replace(folder / WEIGHTS_FILE)
        _move_companions(staged, folder)
        sync(folder)
    return written


def read_model_folder(folder: Path) -> tuple[TrainedModel, dict[str, Tensor]]:
    """A trained model and its tensors, in main memory, every byte of both checked.

    Raises:
        ModelError: no such folder, no model in it, an older or newer schema, settings that this version does not know,
            or damaged or not finite weights.
    """
    path = folder / WEIGHTS_FILE
    with _readable(folder):
        label, tensors = unpack(_read(path))
    model = parse_description(label.text, str(path))
    _require_own_hash(model, label, path)
    require_finite(tensors, str(path))
    _compare_copy(folder, label)
    return model, tensors


def read_description(folder: Path) -> TrainedModel:
    """What a trained model says about itself, without its tensors: quick enough to ask before every request whether
    `weights_sha256` has changed.

    Raises:
        ModelError: as `read_model_folder`, except for what only the tensors tell.
    """
    path = folder / WEIGHTS_FILE
    with _readable(folder):
        label = read_label(path)
    model = parse_description(label.text, str(path))
    _require_own_hash(model, label, path)
    return model


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turns what may happen while the weights are read into what a user can act on."""
    try:
        yield
    except OSError as error:
        raise _missing(folder, error) from error
    except TensorFileError as error:
        raise _damaged(folder / WEIGHTS_FILE, error) from error


def is_trained_folder(path: Path) -> bool:
    """Whether training wrote this folder; it may be of another version all the same, which reading it says."""
    try:
        read_label(path / WEIGHTS_FILE)
    except (OSError, TensorFileError):
        return False
    return True


def require_encoder(model: TrainedModel, identity: ModelIdentity) -> None:
    """That an encoder is the one whose features the model learned on; its name may have changed.

    Raises:
        ModelError: its weights are others.
    """
    if model.backbone.weights_sha256 != identity.weights_sha256:
        raise ModelError(
            f"The model was trained on features of the encoder {model.backbone.name} "
            f"(weights {model.backbone.weights_sha256[:12]}), and this is {identity.name} "
            f"({identity.weights_sha256[:12]}).",
            f"Choose the encoder {model.backbone.name} in the version it was trained with, or train again.",
        )


def require_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError where a tensor holds NaN or infinity."""
    broken = sorted(
        name for name, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()
    )
    if broken:
        raise ModelError(
            f"{where} holds numbers that are not finite, in {', '.join(broken[:3])}.",
            "Train again, with a lower learning rate if it happens again.",
        )


def _keep_previous(folder: Path, staged: Path) -> None:
    """Let `previous` hold the model that is about to be replaced; a damaged one replaces nothing."""
    if not is_trained_folder(folder):
        return
    kept = folder / PREVIOUS_FOLDER
    kept.mkdir(exist_ok=True)
    (staged / PREVIOUS_FOLDER).mkdir()
    for name in (WEIGHTS_FILE, DESCRIPTION_FILE, CURVES_FILE):
        if not (folder / name).is_file():
            (kept / name).unlink(missing_ok=True)
            continue
        copy = staged / PREVIOUS_FOLDER / name
        try:
            os.link(folder / name, copy)
        except OSError:
            # Not every file system has hard links.
            shutil.copyfile(folder / name, copy)
            sync(copy)
        copy.replace(kept / name)


def _move_companions(staged: Path, folder: Path) -> None:
    """The files that say again what the weights file holds; the model is in place, with or without them."""
    try:
        (staged / DESCRIPTION_FILE).replace(folder / DESCRIPTION_FILE)
        if (staged / CURVES_FILE).is_file():
            (staged / CURVES_FILE).replace(folder / CURVES_FILE)
        else:
            (folder / CURVES_FILE).unlink(missing_ok=True)
    except OSError as error:
        LOGGER.warning("The new model is in %s, but not %s or %s: %s", folder, DESCRIPTION_FILE, CURVES_FILE, error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        # NFS: another machine replaced the file after it was opened here.
        if error.errno != errno.ESTALE:
            raise
        return path.read_bytes()


def _require_own_hash(model: TrainedModel, label: Label, path: Path) -> None:
    if model.weights_sha256 != label.tensors_sha256:
        raise _damaged(path, TensorFileError("its description belongs to other weights"))


def _compare_copy(folder: Path, label: Label) -> None:
    path = folder / DESCRIPTION_FILE
    with suppress(OSError):
        if path.read_bytes() != label.text.encode():
            LOGGER.warning("%s is not what %s says of itself; the latter counts.", path, WEIGHTS_FILE)


def _missing(folder: Path, error: OSError) -> ModelError:
    remedy = "Give a folder that training wrote (`anomalabel train few-shot --out FOLDER`)."
    if not folder.is_dir():
        return ModelError(f"The model folder {folder} does not exist.", remedy)
    if not (folder / WEIGHTS_FILE).exists():
        return ModelError(f"{folder} holds no {WEIGHTS_FILE}.", f"Copy the complete folder. {remedy}")
    return ModelError(
        f"{folder / WEIGHTS_FILE} cannot be read: {error.strerror or error}.", "Give this user the right to read it."
    )


def _damaged(path: Path, error: TensorFileError) -> ModelError:
    if isinstance(error, ForeignFileError):
        return ModelError(f"{path} is no model of AnomaLabel.", "Give a folder that training wrote.")
    before = path.parent / PREVIOUS_FOLDER
    remedy = "Copy the folder again, or train again."
    if is_trained_folder(before):
        remedy += f" The model before it is in {before}."
    return ModelError(f"{path} is damaged: {error}.", remedy)
