"""How far a training is, and where that is kept."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anomalabel.training.checkpoint import (
    Checkpoint,
    HistoryEntry,
    read_checkpoint,
    write_checkpoint,
)

PHASE = "epoch"
FOLDER_DIGITS = 16


@dataclass
class TrainingState:
    """A training between two epochs.

    Args:
        network, optimiser: after `epochs` epochs.
        epochs: that are done.
        best: weights after the epoch with the lowest loss on held-out slices.
        best_epoch: its number, counted from 1; 0 before the first.
        best_loss: its loss on held-out slices.
        history: losses of all epochs.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    epochs: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[HistoryEntry] = field(default_factory=list)

    def finish_epoch(self, loss: float) -> None:
        """Count an epoch, and keep its weights where they are the best so far.

        Args:
            loss: on held-out slices.
        """
        self.epochs += 1
        if loss < self.best_loss:
            self.best, self.best_epoch, self.best_loss = deepcopy(self.network.state_dict()), self.epochs, loss

    def is_over(self, epochs: int, patience: int) -> bool:
        """All epochs are done, or the last `patience` of them brought nothing."""
        return self.epochs >= epochs or (self.best_epoch > 0 and self.epochs - self.best_epoch >= patience)

    def checkpoint(self, fingerprint: str) -> Checkpoint:
        """All that `resume` needs."""
        modules = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }
        return Checkpoint(fingerprint, PHASE, self.epochs, modules, self.history)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Be where a checkpoint was taken."""
        modules = checkpoint.modules
        self.network.load_state_dict(modules["network"])
        self.optimiser.load_state_dict(modules["optimiser"])
        self.epochs, self.history = checkpoint.step, list(checkpoint.history)
        self.best, self.best_epoch, self.best_loss = modules["best"], modules["best_epoch"], modules["best_loss"]


@dataclass(frozen=True)
class CheckpointPlace:
    """Where the checkpoints of one training go: trainings of other settings have folders of their own.

    Args:
        checkpoints: folder of all trainings' checkpoints.
        fingerprint: all that decides what is learned.
    """

    checkpoints: Path
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Named after the first hexadecimal digits of the fingerprint's SHA-256."""
        return self.checkpoints / hashlib.sha256(self.fingerprint.encode()).hexdigest()[:FOLDER_DIGITS]

    def read(self) -> Checkpoint | None:
        """The last one; None where there is none.

        Raises:
            ConfigError: it is damaged.
        """
        return read_checkpoint(self.folder, self.fingerprint)

    def write(self, state: TrainingState) -> None:
        """Replace the last one.

        Raises:
            OutputError: it cannot be written, say because the disk is full; the last one stays.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self.folder, state.checkpoint(self.fingerprint))


def remove_checkpoints(checkpoints: Path) -> None:
    """Once the model is written: remove the checkpoints of all trainings in this folder.

    With them goes what a killed training had begun to write. The folder goes too, unless something else is in it.
    """
    for folder in checkpoints.glob("[0-9a-f]" * FOLDER_DIGITS):
        shutil.rmtree(folder, ignore_errors=True)
    # Not empty, or not there.
    with suppress(OSError):
        checkpoints.rmdir()
