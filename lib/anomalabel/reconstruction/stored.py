"""A reconstruction model as tensors of a model folder, and back."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten

import torch
from torch import Tensor

from anomalabel.config import ReconstructionSettings
from anomalabel.errors import ModelError
from anomalabel.localization.calibration import Calibration
from anomalabel.model_folder import TrainedModel
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.model import Encode, ReconstructionModel, kinds_of
from anomalabel.reconstruction.network import build_unet

NETWORK, LEVEL, SCORES = "network.", "level.", "healthy_scores"

SHOWN = 200
"""Characters of an error that may name hundreds of tensors."""


def to_tensors(model: ReconstructionModel, calibration: Calibration) -> dict[str, Tensor]:
    """All numbers of a model that its config does not hold."""
    tensors = {f"{NETWORK}{name}": value for name, value in model.network.state_dict().items()}
    tensors[SCORES] = torch.tensor(calibration.scores, dtype=torch.float64)
    for kind, level in model.levels.items():
        tensors |= {f"{LEVEL}{kind}.mean": level.mean, f"{LEVEL}{kind}.deviation": level.deviation}
    return tensors


def from_tensors(
    description: TrainedModel, tensors: Mapping[str, Tensor], device: torch.device, encode: Encode | None
) -> tuple[ReconstructionModel, Calibration]:
    """The model that `to_tensors` made these of.

    Args:
        device: of the network.
        encode: of patch features; needed where the description's settings compare them.

    Raises:
        ModelError: the folder is of another method, or tensors are missing or of another shape.
    """
    if description.method != "reconstruction":
        raise ModelError(
            f"This model was trained by the method {description.method}, not by reconstruction.",
            "Give the folder of a reconstruction model.",
        )
    settings = description.config.reconstruction
    network = build_unet(settings.channels)
    weights = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    try:
        network.load_state_dict(weights)
        levels = {kind: _level(tensors, kind, settings, device) for kind in kinds_of(settings)}
        calibration = Calibration.from_thresholds(description.thresholds, tensors[SCORES].tolist())
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"The tensors of this model do not fit its description: {shorten(str(error), SHOWN)}.", "Train it again."
        ) from error
    return ReconstructionModel(settings, network.eval().requires_grad_(False).to(device), levels, encode), calibration


def _level(
    tensors: Mapping[str, Tensor], kind: str, settings: ReconstructionSettings, device: torch.device
) -> HealthyLevel:
    cells = settings.side // settings.errors.cell
    parts = []
    for name in (f"{LEVEL}{kind}.mean", f"{LEVEL}{kind}.deviation"):
        if tensors[name].shape != (cells, cells):
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)} and should have {(cells, cells)}")
        parts.append(tensors[name].to(device))
    return HealthyLevel(*parts)
