"""Few-shot localization as a training: from a folder of healthy images to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from anomalabel.config import (
    EMBEDDED,
    AnatomyConfig,
    DetectionRequest,
    FewShotSettings,
    Settings,
    load_config,
)
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.learn_few_shot import learn_few_shot
from anomalabel.detectors.registry import texts_of
from anomalabel.learning.encoded_images import EncodedImages, TrainableEncoders
from anomalabel.learning.healthy_set import choose_healthy, without_odd_ones
from anomalabel.learning.planted_check import check_on_planted
from anomalabel.learning.training_report import TrainingReport, lasting_name, training_report
from anomalabel.localization.few_shot.stored import to_tensors
from anomalabel.localization.patch_features import PatchStore
from anomalabel.localization.stored_features import stored_features
from anomalabel.model_folder import HealthyImage, TrainedModel, check_model_folder, write_model_folder
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
        encoder=lasting_name(encoders.name),
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
    return training_report(folder, written, chosen.left_out)


def _config(request: FewShotTraining) -> AnatomyConfig:
    config = load_config(request.config)
    if request.epochs is None:
        return config
    training = config.few_shot.training.model_copy(update={"epochs": request.epochs})
    settings: FewShotSettings = config.few_shot.model_copy(update={"training": training})
    return config.model_copy(update={"few_shot": settings})
