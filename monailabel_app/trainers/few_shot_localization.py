"""The train task `few_shot_localization`: a model for one config from the studies that are healthy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from anomalabel.config import shipped_config_names
from anomalabel.errors import AnomaLabelError
from monailabel_app.infers.detection_task import Detecting, renamed
from monailabel_app.places import is_remote, studies_folder
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.train_request import (
    DEFAULT_SHOTS,
    HealthyStudies,
    TrainRequest,
    build_train_request,
    healthy_studies,
)

logger = logging.getLogger(__name__)

Watch = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all; may raise Cancelled."""


class Training(Protocol):
    """What makes a model; see `anomalabel.learning.few_shot.train_few_shot`."""

    def __call__(
        self,
        request: TrainRequest,
        healthy: Sequence[Path],
        folder: Path,
        encoders: Any,
        watch: Watch,
        abnormal: frozenset[str],
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class PreparedTraining:
    """A training that can start: its request is parsed and its images are found."""

    request: TrainRequest
    healthy: HealthyStudies


class FewShotLocalizationTraining(TrainTask):
    """Few-shot training as MONAI Label sees it.

    Args:
        pipeline: whose loaded encoders the training uses.
        backbones: models that a client may name, the default first.
        studies: folder or address of the studies.
        trained: where models go; the old model of a config stays in use until the new one is whole.
        reviews: which studies are normal.
        train: makes the model; the library's own by default.
    """

    def __init__(
        self,
        pipeline: Detecting,
        backbones: tuple[str, ...],
        studies: str,
        trained: TrainedModels,
        reviews: ReviewStore,
        train: Training | None = None,
    ) -> None:
        super().__init__("Learns a config's few-shot model from healthy studies. Not for clinical use.")
        self.pipeline = pipeline
        self.backbones = backbones
        self.studies = studies
        self.trained = trained
        self.reviews = reviews
        self.train = train or train_with_library

    def config(self) -> dict[str, Any]:
        """What a client may choose, with the choices."""
        return {
            "config": list(shipped_config_names()),
            "backbone": list(self.backbones),
            "shots": DEFAULT_SHOTS,
            "seed": 0,
            "healthy": "",
        }

    def prepare(self, values: dict[str, Any], datastore: Datastore) -> PreparedTraining:
        """Check everything that can be checked before the work begins.

        Raises:
            AnomaLabelError: a bad request, no healthy studies, or reviews that are damaged.
        """
        request = build_train_request(values, self.backbones)
        try:
            healthy = healthy_studies(request, self._folder, datastore, self.reviews.case_verdicts())
        except AnomaLabelError as error:
            raise self._told(error) from error
        return PreparedTraining(request, healthy)

    def run(self, prepared: PreparedTraining, watch: Watch) -> dict[str, Any]:
        """Train, and put the model where inference finds it.

        Raises:
            Cancelled: `watch` said so; the old model is as it was.
            AnomaLabelError: the images or the model cannot be used; no path of this machine in its text.
        """
        request, healthy = prepared.request, prepared.healthy
        folder = self.trained.place(request.config)
        try:
            watch("loading the encoder", 0, 0)
            encoders = self.pipeline.encoders(request.backbone)
            return self.train(request, healthy.images, folder, encoders, watch, healthy.abnormal)
        except AnomaLabelError as error:
            raise self._told(error) from error

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """The call of MONAI Label's own server, which runs it in a process of its own."""
        values = {key: value for key, value in request.items() if key not in {"model", "gpus"}}
        return self.run(self.prepare(values, datastore), _log_progress)

    @property
    def _folder(self) -> Path | None:
        return None if is_remote(self.studies) else studies_folder(self.studies)

    def _told(self, error: AnomaLabelError) -> AnomaLabelError:
        """The error in a client's words: files of the studies by their names."""
        return error if self._folder is None else renamed(error, {f"{self._folder}/": "", str(self._folder): "studies"})


def train_with_library(
    request: TrainRequest,
    healthy: Sequence[Path],
    folder: Path,
    encoders: Any,
    watch: Watch,
    abnormal: frozenset[str],
) -> dict[str, Any]:
    """Train with `anomalabel.learning.few_shot`; its report as plain values."""
    from anomalabel.learning.few_shot import FewShotTraining, train_few_shot

    settings = FewShotTraining(**request.model_dump(exclude={"healthy"}))
    return train_few_shot(settings, healthy, folder, encoders, watch, abnormal).model_dump(mode="json")


def _log_progress(doing: str, done: int, total: int) -> None:
    logger.info("%s: %d of %d", doing, done, total)
