"""Detectors of trained model folders, kept as long as the folder holds the same model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.loading import is_model_folder
from anomalabel.config import DetectionRequest, load_config
from anomalabel.detectors.base import Detector
from anomalabel.detectors.few_shot import FewShotDetector
from anomalabel.detectors.reconstruction import ReconstructionDetector
from anomalabel.errors import ConfigError, ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.few_shot import stored as few_shot_stored
from anomalabel.localization.stored_features import stored_features
from anomalabel.model_folder import (
    WEIGHTS_FILE,
    TrainedModel,
    is_trained_folder,
    read_description,
    read_model_folder,
    require_encoder,
)
from anomalabel.reconstruction import stored as reconstruction_stored
from anomalabel.reconstruction.error_maps import feature_encoder
from anomalabel.reconstruction.saliency import saliency_sources

TRAINED_METHODS = frozenset({"few_shot", "reconstruction"})
"""Methods whose `backbone` may be the folder of a trained model."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with its description, both from one reading of its folder."""

    description: TrainedModel
    detector: Detector


class TrainedDetectors:
    """Loads trained models when they are first asked for, and again when training has put another in their place.

    Args:
        encoders: the encoders of a name.
    """

    def __init__(self, encoders: Callable[[str], NamedEncoders]) -> None:
        self._encoders = encoders
        self._loaded: dict[str, LoadedModel] = {}
        self._loading = threading.Lock()

    def find(self, request: DetectionRequest) -> LoadedModel | None:
        """The trained model that a request names; None where it names an encoder.

        Raises:
            ModelError: the folder's model cannot be used, or its encoder is another one now.
            ConfigError: the request asks for another config, or for texts, which are part of what was learned.
        """
        folder = Path(request.backbone)
        if request.method not in TRAINED_METHODS or not _holds_trained_model(folder):
            return None
        _require_fit(request, read_description(folder))
        with self._loading:
            key = str(folder.resolve())
            known = self._loaded.get(key)
            if known is None or known.description.weights_sha256 != read_description(folder).weights_sha256:
                known = self._load(folder)
                self._loaded[key] = known
        _require_fit(request, known.description)
        return known

    def _load(self, folder: Path) -> LoadedModel:
        description, tensors = read_model_folder(folder)
        encoders = self._encoders(description.encoder)
        encoder = encoders.patch_encoder()
        require_encoder(description, encoder.identity)
        identity = ModelIdentity(name=folder.resolve().name, weights_sha256=description.weights_sha256)
        build = LOADERS.get(description.method)
        if build is None:
            raise ModelError(
                f"The model in {folder} was trained by {description.method}, which this version does not know.",
                f"Give a model of {', '.join(sorted(LOADERS))}.",
            )
        return LoadedModel(description, build(description, tensors, encoders, identity))


def _few_shot(
    description: TrainedModel, tensors: Mapping[str, Tensor], encoders: NamedEncoders, identity: ModelIdentity
) -> Detector:
    model, calibration = few_shot_stored.from_tensors(description, tensors, encoders.device)
    return FewShotDetector(
        encoders.patch_encoder(), model, calibration, description.config, identity, warnings=description.warnings
    )


def _reconstruction(
    description: TrainedModel, tensors: Mapping[str, Tensor], encoders: NamedEncoders, identity: ModelIdentity
) -> Detector:
    config = description.config
    settings = config.reconstruction
    encode = feature_encoder(encoders.patch_encoder()) if settings.errors.features > 0 else None
    model, calibration = reconstruction_stored.from_tensors(description, tensors, encoders.device, encode)
    saliency = saliency_sources(
        settings.saliency, encoders, description.prompts, config, description.seed, settings.self_attention
    )
    store = stored_features(encoders)
    return ReconstructionDetector(model, saliency, calibration, config, identity, store, description.warnings)


LOADERS: Mapping[str, Callable[[TrainedModel, Mapping[str, Tensor], NamedEncoders, ModelIdentity], Detector]] = {
    "few_shot": _few_shot,
    "reconstruction": _reconstruction,
}


def _require_fit(request: DetectionRequest, model: TrainedModel) -> None:
    """Raise ModelError where a model is of another method than a request asks for, ConfigError where the request asks
    for another config, or for texts."""
    if request.method != model.method:
        raise ModelError(
            f"The model in {request.backbone} was trained by the method {model.method}, not by {request.method}.",
            f"Ask with --method {model.method}, or give the folder of a {request.method} model.",
        )
    if request.config != model.config.name and load_config(request.config).name != model.config.name:
        raise ConfigError(
            f"The model in {request.backbone} was trained for {model.config.name}, the request is about "
            f"{request.config}.",
            f"Ask with --config {model.config.name}, or train a model for {request.config}.",
        )
    if request.positive is not None or request.negative is not None:
        raise ConfigError(
            "The texts of a trained model are part of what it learned.",
            "Leave them out, or train with these texts.",
        )


def _holds_trained_model(folder: Path) -> bool:
    """Whether a folder is a trained model's, also where its file is damaged, which reading it says."""
    return is_trained_folder(folder) or ((folder / WEIGHTS_FILE).is_file() and not is_model_folder(folder))
