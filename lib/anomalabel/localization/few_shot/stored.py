"""A few-shot model as tensors of a model folder, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anomalabel.errors import ModelError
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import HEAD, ClassTexts, FewShotModel, LearnedHead
from anomalabel.localization.fusion import MapScale
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.model_folder import TrainedModel

NO_LEVEL = -1


def to_tensors(model: FewShotModel, calibration: Calibration) -> dict[str, Tensor]:
    """All numbers of a model that its config does not hold."""
    level = NO_LEVEL if model.text_level is None else model.text_level
    tensors: dict[str, Tensor] = {
        "healthy_scores": torch.tensor(calibration.scores, dtype=torch.float64),
        "text_level": torch.tensor([level]),
    }
    for kind, scale in model.scales.items():
        tensors[f"scale.{kind}"] = _scale_tensor(scale)
    if model.bank is not None:
        tensors |= {f"bank.{name}": value for name, value in model.bank.tensors().items()}
    if model.texts is not None:
        tensors |= _texts_tensors("texts", model.texts)
    for number, one in enumerate(model.heads):
        tensors |= {f"heads.{number}.weights.{name}": value for name, value in one.head.state_dict().items()}
        tensors |= _texts_tensors(f"heads.{number}.texts", one.texts)
        tensors[f"heads.{number}.scale"] = _scale_tensor(one.scale)
    return tensors


def from_tensors(
    description: TrainedModel, tensors: Mapping[str, Tensor], device: torch.device
) -> tuple[FewShotModel, Calibration]:
    """The model that `to_tensors` made these of.

    Raises:
        ModelError: the folder is of another method, or tensors are missing or of another shape.
    """
    if description.method != "few_shot":
        raise ModelError(
            f"This model was trained by the method {description.method}, not by few_shot.",
            "Give the folder of a few-shot model.",
        )
    on_device = {name: value.to(device) for name, value in tensors.items()}
    try:
        return _model(description, on_device), _calibration(description, tensors)
    except (KeyError, RuntimeError, IndexError, ValueError) as error:
        raise ModelError(
            f"The tensors of this model do not fit its description: {str(error).splitlines()[0]}.", "Train it again."
        ) from error


def _model(description: TrainedModel, tensors: Mapping[str, Tensor]) -> FewShotModel:
    config = description.config
    settings = config.few_shot
    level = int(tensors["text_level"][0])
    text_level = None if level == NO_LEVEL else level
    bank = None
    if any(name.startswith("bank.") for name in tensors):
        own = config.normal_bank.model_copy(update={"maximum_patches": settings.bank_patches})
        bank = NormalBank.from_tensors(_below("bank.", tensors), own)
    heads: list[LearnedHead] = []
    while f"heads.{len(heads)}.scale" in tensors:
        prefix = f"heads.{len(heads)}."
        texts = _texts(_below(f"{prefix}texts.", tensors))
        weights = _below(f"{prefix}weights.", tensors)
        channels = tuple(
            len(weights[f"mean_{number}"]) for number in range(sum(name.startswith("mean_") for name in weights))
        )
        head = FewShotHead(HeadShape.of(channels, text_level, texts.healthy.shape[1], settings))
        head.load_state_dict(weights)
        head.to(texts.healthy.device).requires_grad_(False)
        heads.append(LearnedHead(head, texts, _scale(tensors[f"{prefix}scale"])))
    scales = {name: _scale(value) for name, value in _below("scale.", tensors).items()}
    texts_there = _below("texts.", tensors)
    model = FewShotModel(
        settings,
        bank,
        _texts(texts_there) if texts_there else None,
        text_level,
        tuple(heads),
        scales,
        config.normal_bank.score_share,
    )
    _require_parts(model, min(settings.heads, len(description.healthy)) if settings.learns else 0)
    return model


def _require_parts(model: FewShotModel, heads: int) -> None:
    """Raise ValueError where a part that the config turned on is missing; texts may have been left out."""
    if (model.bank is not None) != model.settings.bank:
        raise ValueError("the bank is missing, or there is one too many")
    if len(model.heads) != heads:
        raise ValueError(f"it holds {len(model.heads)} heads and should hold {heads}")
    if unscaled := sorted(model.weights.keys() - model.scales.keys() - {HEAD}):
        raise ValueError(f"no scale of {', '.join(unscaled)}")


def _calibration(description: TrainedModel, tensors: Mapping[str, Tensor]) -> Calibration:
    return Calibration.from_thresholds(description.thresholds, tensors["healthy_scores"].tolist())


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _texts_tensors(prefix: str, texts: ClassTexts) -> dict[str, Tensor]:
    return {f"{prefix}.healthy": texts.healthy, f"{prefix}.diseased": texts.diseased}


def _texts(tensors: Mapping[str, Tensor]) -> ClassTexts:
    return ClassTexts(tensors["healthy"], tensors["diseased"])


def _scale_tensor(scale: MapScale) -> Tensor:
    return torch.tensor([scale.mean, scale.deviation], dtype=torch.float64)


def _scale(tensor: Tensor) -> MapScale:
    mean, deviation = tensor.tolist()
    return MapScale(mean, deviation)
