"""What came of a training, for the command line and the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anomalabel.backbones.loading import find_model_folder
from anomalabel.config import AnatomyConfig, Settings
from anomalabel.learning.healthy_set import LeftOut
from anomalabel.model_folder import TrainedModel
from anomalabel.prompts.ontology import Ontology, unknown_terms


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


def training_report(folder: Path, model: TrainedModel, left_out: Sequence[LeftOut]) -> TrainingReport:
    """Of a model that was written.

    Args:
        folder: of the model.
        model: as it was written.
        left_out: images that were not learned from.
    """
    return TrainingReport(
        model=folder.resolve().name,
        weights_sha256=model.weights_sha256,
        shots_used=len(model.healthy),
        images=tuple(image.name for image in model.healthy),
        left_out=tuple(LeftOutImage(image=one.path.name, reason=one.reason) for one in left_out),
        warnings=(*model.warnings, *_unknown_terms(model.config)),
        metrics=model.metrics,
        thresholds={kind: threshold.rule for kind, threshold in model.thresholds.items()},
    )


def lasting_name(encoder: str) -> str:
    """An encoder's name; a folder's whole path, since whoever loads the model may work in another folder."""
    given = Path(encoder)
    return str(given.resolve()) if given.is_dir() and find_model_folder(encoder) == given else encoder


def _unknown_terms(config: AnatomyConfig) -> tuple[str, ...]:
    """Said once, when a model is trained: nothing of a result hangs on it."""
    unknown = unknown_terms(config, Ontology.installed())
    return (f"No ontology here knows these terms of the config: {', '.join(unknown)}.",) if unknown else ()
