"""What each of the processes that train together does; the test is one of them, and starts another.

    train_in_processes.py FOLDER

FOLDER holds slices, settings and the number of a slice to spoil. The last line that is printed is what was seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from anomalabel.config import AugmentationSettings, ReconstructionSettings
from anomalabel.errors import AnomaLabelError, Cancelled, OutputError
from anomalabel.training.reconstruction import learner
from anomalabel.training.reconstruction.fit import ReconstructionFit, fit_reconstruction
from anomalabel.training.reconstruction.processes import Processes, joined_processes
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import CheckpointPlace


def size_of(fit: ReconstructionFit) -> float:
    """Sum of all weights' magnitudes."""
    return sum(float(one.detach().abs().sum()) for one in fit.network.parameters())


def train_together(folder: Path) -> dict[str, Any]:
    """A training, then three that end: one cancelled, one with a damaged image, one with a full disk."""
    learnt, held_out = (HealthySlices(**torch.load(folder / f"{name}.pt")) for name in ("learnt", "held_out"))
    settings = ReconstructionSettings.model_validate_json((folder / "settings.json").read_text())
    augmentation = AugmentationSettings(mirror_left_right=True)
    watched: list[tuple[str, int, int]] = []

    def run(
        slices: HealthySlices, watch: Callable[..., None] = lambda *told: None, checkpoints: Path | None = None
    ) -> ReconstructionFit:
        cpu = torch.device("cpu")
        return fit_reconstruction(slices, held_out, settings, augmentation, 3, cpu, watch, checkpoints, "discs")

    def cancel(stage: str, done: int, total: int) -> None:
        if done == 4:
            raise Cancelled

    def fail(place: object, state: object) -> None:
        raise OutputError("The disk is full.", "Free space.")

    damaged = learnt.images.clone()
    damaged[int((folder / "spoilt.txt").read_text())] = torch.nan
    in_single_precision = patch.object(learner, "choose_dtype", lambda device, precision: torch.float32)
    with in_single_precision, joined_processes():
        told = {"world": Processes.here().world}
        fit = run(learnt, lambda *one: watched.append(one), folder / "checkpoints")
        told |= {"history": fit.history, "watched": watched, "weights": size_of(fit)}
        told["cancelled"] = _ending(partial(run, learnt, cancel))
        told["broken"] = _ending(partial(run, replace(learnt, images=damaged)))
        with patch.object(CheckpointPlace, "write", fail):
            told["full"] = _ending(partial(run, learnt, checkpoints=folder / "full"))
    return json.loads(json.dumps(told))


def _ending(training: Callable[[], object]) -> tuple[str, str]:
    try:
        training()
    except AnomaLabelError as error:
        return type(error).__name__, str(error)
    return "no error", ""


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(train_together(Path(sys.argv[1]))))
