"""Trains the U-Net on healthy slices (clap.txt section 2.2 and 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from anomalabel.config import AugmentationSettings, ReconstructionSettings
from anomalabel.config.reconstruction import ReconstructionTraining
from anomalabel.errors import ConfigError, ModelError
from anomalabel.reconstruction.network import SMALLEST_SIDE, build_unet
from anomalabel.training.checkpoint import HistoryEntry
from anomalabel.training.reconstruction.epochs import Epochs, Watch
from anomalabel.training.reconstruction.learner import Learner, NotFiniteError
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import CheckpointPlace, TrainingState

NAMED = 5
"""Images that a message names."""


@dataclass(frozen=True)
class ReconstructionFit:
    """What was learned.

    Args:
        network: of the best epoch, in evaluation mode.
        history: of each epoch the mean losses of "training" and of "held out" slices, by the steps done.
        best_epoch: counted from 1, the one with the lowest loss on held-out slices.
        warnings: what a reader of results should know.
    """

    network: nn.Module
    history: list[HistoryEntry]
    best_epoch: int
    warnings: tuple[str, ...]


def fit_reconstruction(
    learnt: HealthySlices,
    held_out: HealthySlices,
    settings: ReconstructionSettings,
    augmentation: AugmentationSettings,
    seed: int,
    device: torch.device,
    watch: Watch,
    checkpoints: Path | None,
    fingerprint: str,
) -> ReconstructionFit:
    """Learn to restore healthy slices of which a region is hidden.

    Each epoch ends with a checkpoint; a call with the same fingerprint goes on from there, on one process bit for bit
    as if nothing had happened. The learning rate rises over the first 5 % of all steps and falls as a cosine over the
    others. Where torch.distributed is initialised, each process calls this with the same arguments and gets the same
    network.

    Args:
        learnt: to learn from.
        held_out: to choose the best epoch by, and to stop early.
        settings: network, losses, mosaic and training; saliency none hides nothing.
        augmentation: what the anatomy allows; used where the settings' training has it on.
        seed: of first weights and draws.
        device: of the network.
        watch: asked after every step, in the first process; may raise Cancelled, which leaves the last checkpoint.
        checkpoints: folder of the checkpoints of all trainings, None for none; see `remove_checkpoints`.
        fingerprint: all that decides what is learned, as text.

    Raises:
        ConfigError: the slices are smaller than the network takes, or the checkpoint is damaged.
        ModelError: a loss is NaN or infinite before the first epoch is done; the images are named.
        OutputError: a checkpoint cannot be written; the one before stays.
        Cancelled: the user stopped it.
    """
    if learnt.side < SMALLEST_SIDE or learnt.side != held_out.side:
        raise ConfigError(
            f"Slices of {learnt.side} and {held_out.side} pixels came; the U-Net takes one size from {SMALLEST_SIDE}.",
            f"Raise reconstruction.side to {SMALLEST_SIDE} or more.",
        )
    processes = Processes.here()
    network = _first_network(settings, seed, device)
    optimiser = torch.optim.AdamW(_groups(network, settings.training), fused=True)
    state = TrainingState(network, optimiser)
    place = CheckpointPlace(checkpoints, fingerprint) if checkpoints is not None else None
    if place is not None:
        found = processes.first_result(place.read)
        if found is not None:
            state.resume(found)
            watch(f"going on after epoch {state.epochs}", 0, 0)
    learner = Learner(network, optimiser, settings, device, processes)
    epochs = Epochs(learner, state, _placed(learnt, device), _placed(held_out, device), augmentation, seed, watch)
    warnings: list[str] = []
    while not state.is_over(settings.training.epochs, settings.training.patience):
        try:
            epochs.run_next()
        except NotFiniteError as broken:
            warnings.append(_stopped(broken, state))
            break
        if place is not None:
            processes.first_alone(partial(place.write, state))
    epochs.tell_end()
    network.load_state_dict(state.best)
    return ReconstructionFit(network.eval(), state.history, state.best_epoch, tuple(warnings))


def _first_network(settings: ReconstructionSettings, seed: int, device: torch.device) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_unet(settings.channels)
    if device.type == "cuda":
        # On processors instance normalisation gains nothing from it.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device).train()


def _groups(network: nn.Module, training: ReconstructionTraining) -> list[dict[str, object]]:
    """Kernels decay; biases and slopes do not."""
    parameters = list(network.parameters())
    return [
        {
            "params": [one for one in parameters if one.ndim >= 2],
            "lr": training.learning_rate,
            "weight_decay": training.weight_decay,
        },
        {"params": [one for one in parameters if one.ndim < 2], "lr": training.learning_rate, "weight_decay": 0.0},
    ]


def _placed(slices: HealthySlices, device: torch.device) -> HealthySlices:
    """On a GPU where they take at most a quarter of what is free there; else batches travel one by one."""
    if device.type != "cuda" or 4 * slices.size_bytes > torch.cuda.mem_get_info(device)[0]:
        return slices
    return slices.to(device)


def _stopped(broken: NotFiniteError, state: TrainingState) -> str:
    """The warning about a training that ended so.

    Raises:
        ModelError: there is no good epoch yet.
    """
    names = ", ".join(broken.names[:NAMED])
    if len(broken.names) > NAMED:
        names += f" and {len(broken.names) - NAMED} more"
    what = f"a loss in epoch {state.epochs + 1} was no finite number, at {names}"
    if state.best_epoch == 0:
        raise ModelError(
            f"The U-Net learned nothing: {what}.",
            "Look at these images and leave out what is damaged; if they are fine, lower "
            "reconstruction.training.learning_rate.",
        )
    return f"Training stopped early: {what}. The network of epoch {state.best_epoch} is used."
