"""Few-shot localization as a training: from a folder of healthy images to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from anomalabel.backbones.loading import find_model_folder
from anomalabel.config import (
    EMBEDDED,
    AnatomyConfig,
    DetectionRequest,
    FewShotSettings,
    Settings,
    load_config,
)
from anomalabel.detectors.registry import BuildContext, learn_few_shot, texts_of
from anomalabel.learning.encoded_images import EncodedImages, TrainableEncoders, stored_features
from anomalabel.learning.healthy_set import HealthySet, choose_healthy, without_odd_ones
from anomalabel.learning.planted_check import check_on_planted
from anomalabel.localization.few_shot.stored import to_tensors
from anomalabel.localization.patch_features import PatchStore
from anomalabel.model_folder import HealthyImage, TrainedModel, check_model_folder, write_model_folder
from anomalabel.prompts.ontology import Ontology, unknown_terms
from anomalabel.training.curves import draw_curves
from anomalabel.training.few_shot.fit import Watch

NEEDED_BYTES = 1 << 26
"""A model takes at most this: its bank of 8,192 patches of 320 channels is 10 MB."""


class FewShotTraining(Settings):
    """What one training asks for."""

    config: str = "brain_mri"
    backbone: str = EMBEDDED
    shots: int = Field(default=16, ge=2, le=1024, description="healthy images to learn from")
    seed: int = Field(default=0, ge=0, lt=2**32)
    epochs: int | None = Field(default=None, ge=1, description="None: as the config says")


class LeftOutImage(Settings):
    """A healthy image that was not learned from."""

    image: str
    reason: str


class TrainingReport(Settings):
    """What came of a training."""

    model: str
    weights_sha256: str
    shots_used: int
    images: tuple[str, ...]
    left_out: tuple[LeftOutImage, ...]
    warnings: tuple[str, ...]
    metrics: dict[str, float]
    thresholds: dict[str, str]


def train_few_shot(
    request: FewShotTraining,
    healthy: Sequence[Path],
    folder: Path,
    encoders: TrainableEncoders,
    watch: Watch,
    abnormal: frozenset[str] = frozenset(),
    store: PatchStore | None = None,
) -> TrainingReport:
    """Choose shots, learn, judge, and put the model into a folder; until it is whole the one before stays in use.

    An interrupted training starts anew: what takes longest, the features, is on disk by then.

    Args:
        request: what is asked for.
        healthy: images to choose from.
        folder: of the model.
        encoders: of the request's backbone.
        watch: told what is done; raising Cancelled in it ends the work and leaves the folder as it was. It is not
            asked again once the model is being written.
        abnormal: names of images that reviews call abnormal.
        store: of features; None is the user's cache on disk, with memory before it.

    Raises:
        AnomaLabelError: too few usable images, a bad config or model, or a folder that cannot be written.
    """
    config = _config(request)
    check_model_folder(folder, NEEDED_BYTES)
    encoder = encoders.patch_encoder()
    kept = store or stored_features(encoders)
    images = EncodedImages(config, encoder, kept, watch)
    chosen = choose_healthy(
        healthy,
        request.shots,
        request.seed,
        abnormal,
        images.prepared,
        lambda done, total: watch("reading healthy images", done, total),
    )
    chosen, odd = without_odd_ones(chosen, images.look, images.prepared)
    texts = texts_of("few_shot", config, DetectionRequest(config=request.config))
    shots = tuple(images.prepared(path) for path in chosen.chosen)
    context = BuildContext(config, texts, encoders, shots, request.seed, kept)
    fit = learn_few_shot(context, watch)
    watch("checking on planted anomalies", 0, 1)
    metrics = check_on_planted(fit, request.seed, watch)
    warnings = (*fit.warnings, *([odd.untold] if odd.untold else []))
    model = TrainedModel(
        method="few_shot",
        config=config,
        backbone=encoder.identity,
        encoder=_lasting(encoders.name),
        prompts=texts,
        healthy=tuple(HealthyImage(name=one.path.name, sha256=one.sha256) for one in chosen.images),
        seed=request.seed,
        metrics=metrics,
        thresholds=fit.calibration.thresholds,
        warnings=warnings,
    )
    watch("writing the model", 0, 1)
    history = fit.history
    curves = (lambda path: draw_curves(history, path)) if history else None
    written = write_model_folder(folder, model, to_tensors(fit.model, fit.calibration), curves)
    return _report(folder, written, chosen)


def _config(request: FewShotTraining) -> AnatomyConfig:
    config = load_config(request.config)
    if request.epochs is None:
        return config
    training = config.few_shot.training.model_copy(update={"epochs": request.epochs})
    settings: FewShotSettings = config.few_shot.model_copy(update={"training": training})
    return config.model_copy(update={"few_shot": settings})


def _lasting(encoder: str) -> str:
    """The encoder's name; a folder's whole path, since whoever loads the model may work in another folder."""
    given = Path(encoder)
    return str(given.resolve()) if given.is_dir() and find_model_folder(encoder) == given else encoder


def _unknown_terms(config: AnatomyConfig) -> tuple[str, ...]:
    """Said once, when a model is trained: nothing of a result hangs on it."""
    unknown = unknown_terms(config, Ontology.installed())
    return (f"No ontology here knows these terms of the config: {', '.join(unknown)}.",) if unknown else ()


def _report(folder: Path, model: TrainedModel, chosen: HealthySet) -> TrainingReport:
    rules: Mapping[str, str] = {kind: threshold.rule for kind, threshold in model.thresholds.items()}
    return TrainingReport(
        model=folder.resolve().name,
        weights_sha256=model.weights_sha256,
        shots_used=len(model.healthy),
        images=tuple(image.name for image in model.healthy),
        left_out=tuple(LeftOutImage(image=one.path.name, reason=one.reason) for one in chosen.left_out),
        warnings=(*model.warnings, *_unknown_terms(model.config)),
        metrics=model.metrics,
        thresholds=dict(rules),
    )
