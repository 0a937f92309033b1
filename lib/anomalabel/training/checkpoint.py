"""What an interrupted training goes on from."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from anomalabel.errors import ConfigError
from anomalabel.model_folder.whole_files import write_whole

CHECKPOINT_FILE = "training_state.pt"

READING_ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
)
"""What torch raises on damaged files."""

HistoryEntry = tuple[str, int, dict[str, float]]
"""Phase, step in it, losses."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training between two steps.

    Args:
        settings: as text; a checkpoint of other settings is refused.
        phase, step: the next step to take; what the phases are called is the training's own affair.
        modules: state of everything that learns or remembers, by name: tensors, numbers, texts and containers of them
            (of a random generator its `get_state()`).
        history: losses so far.
    """

    settings: str
    phase: str
    step: int
    modules: dict[str, Any]
    history: list[HistoryEntry]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all.

    Raises:
        OutputError: it cannot be written, say because the disk is full; the checkpoint before stays.
    """
    # Through memory, since torch tells a full disk as any other fault of its own.
    content = io.BytesIO()
    torch.save(vars(checkpoint), content)
    write_whole(folder / CHECKPOINT_FILE, content.getvalue())


def read_checkpoint(folder: Path, settings: str) -> Checkpoint | None:
    """The folder's checkpoint, in main memory; None where there is none.

    Raises:
        ConfigError: it is damaged, or of a training with other settings.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except READING_ERRORS as error:
        raise ConfigError(f"The checkpoint {path} cannot be read.", "Delete it to start anew.") from error
    if checkpoint.settings != settings:
        raise ConfigError(
            f"{path} belongs to a training with other settings, images or teacher.",
            "Give the same ones, another --out, or delete it.",
        )
    return checkpoint


def remove_checkpoint(folder: Path) -> None:
    """After the last step."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
