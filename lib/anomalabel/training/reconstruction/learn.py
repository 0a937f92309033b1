"""From healthy slices to a model with thresholds: the network, and the errors it makes on healthy images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anomalabel.config import AnatomyConfig
from anomalabel.localization.calibration import Calibration
from anomalabel.reconstruction.error_maps import inside_cells
from anomalabel.reconstruction.healthy_level import ErrorSums
from anomalabel.reconstruction.model import Encode, ReconstructionModel, kinds_of
from anomalabel.reconstruction.slices import SliceBatch
from anomalabel.training.checkpoint import HistoryEntry
from anomalabel.training.reconstruction.epochs import Watch
from anomalabel.training.reconstruction.fit import fit_reconstruction
from anomalabel.training.reconstruction.material import Material
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.volume import FloatArray

JUDGING = "judging held-out images"


@dataclass(frozen=True)
class ReconstructionLearned:
    """A model with its thresholds.

    Args:
        model: network and healthy levels.
        calibration: thresholds, from held-out images.
        history: losses.
        best_epoch: whose network it is, counted from 1.
        held_out_errors: of each kind the mean on held-out healthy images.
        warnings: what a reader of results should know.
    """

    model: ReconstructionModel
    calibration: Calibration
    history: list[HistoryEntry]
    best_epoch: int
    held_out_errors: Mapping[str, float]
    warnings: tuple[str, ...]


def learn_model(
    material: Material,
    config: AnatomyConfig,
    encode: Encode | None,
    seed: int,
    device: torch.device,
    watch: Watch,
    checkpoints: Path | None,
    fingerprint: str,
) -> ReconstructionLearned:
    """Train the network, then measure level and thresholds on held-out images.

    Each held-out image is judged with the level of the others. The network learned from none of them; it only chose its
    epoch by them.

    Args: see `fit_reconstruction`; `encode` is needed where the settings compare features.

    Raises: see `fit_reconstruction`.
        ModelError: the held-out images show nothing, or all errors are equal.
    """
    settings = config.reconstruction
    fit = fit_reconstruction(
        material.learnt, material.held_out, settings, config.augmentation, seed, device, watch, checkpoints, fingerprint
    )
    bare = ReconstructionModel(settings, fit.network.requires_grad_(False), {}, encode)
    errors, inside = _errors_of(bare, material.held_out, device, watch)
    sums = {kind: _sums_of_images(values, inside, material.owners) for kind, values in errors.items()}
    levels = {kind: _total(sums[kind]).level() for kind in kinds_of(settings)}
    model = ReconstructionModel(
        settings, bare.network, {kind: level.to(device) for kind, level in levels.items()}, encode
    )
    scores, maps = _judged(model, errors, inside, material.owners, sums)
    calibration = Calibration.of(
        scores, maps, settings.false_positive_rate, settings.pixel_quantile, "refitted" if levels else "chosen"
    )
    means = {kind: float(values[inside].mean()) for kind, values in errors.items()}
    return ReconstructionLearned(
        model, calibration, fit.history, fit.best_epoch, means, (*material.warnings, *fit.warnings)
    )


def _errors_of(
    model: ReconstructionModel, slices: HealthySlices, device: torch.device, watch: Watch
) -> tuple[dict[str, Tensor], Tensor]:
    """Kinds of error (N, cells, cells) of all slices, and which cells are inside (N, cells, cells), in main memory."""
    parts: dict[str, list[Tensor]] = {}
    size = model.settings.batch_size
    for start in range(0, len(slices), size):
        watch(JUDGING, start, len(slices))
        chosen = slice(start, start + size)
        batch = SliceBatch(
            slices.images[chosen, None].float().to(device),
            slices.inside[chosen].to(device),
            slices.hidden[chosen].to(device),
        )
        for kind, values in model.restore(batch).errors.items():
            parts.setdefault(kind, []).append(values.cpu())
    watch(JUDGING, len(slices), len(slices))
    return {kind: torch.cat(values) for kind, values in parts.items()}, inside_cells(slices.inside, model.cells).cpu()


def _sums_of_images(errors: Tensor, inside: Tensor, owners: Sequence[int]) -> list[ErrorSums]:
    owner = torch.tensor(owners)
    return [ErrorSums.of(errors[owner == number], inside[owner == number]) for number in range(max(owners) + 1)]


def _total(sums: Sequence[ErrorSums]) -> ErrorSums:
    total = sums[0]
    for one in sums[1:]:
        total = total + one
    return total


def _judged(
    model: ReconstructionModel,
    errors: Mapping[str, Tensor],
    inside: Tensor,
    owners: Sequence[int],
    sums: Mapping[str, Sequence[ErrorSums]],
) -> tuple[list[float], list[FloatArray]]:
    """Scores and maps of the held-out images, each with the level of the others."""
    owner = torch.tensor(owners)
    totals = {kind: _total(sums[kind]) for kind in model.levels}
    scores, maps = [], []
    for number in range(max(owners) + 1):
        own = owner == number
        levels = {kind: (totals[kind] - sums[kind][number]).level() for kind in model.levels}
        judge = ReconstructionModel(model.settings, model.network, levels, model.encode)
        values = judge.map_of({kind: one[own] for kind, one in errors.items()})
        scores.append(max(judge.slice_scores(values, inside[own])))
        maps.append(np.where(inside[own].numpy(), values.numpy(), np.nan).astype(np.float32))
    return scores, maps
