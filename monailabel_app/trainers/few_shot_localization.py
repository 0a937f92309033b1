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
from anomalabel.learning.few_shot import FewShotTraining, TrainingReport, train_few_shot
from monailabel_app.infers.detection_task import Detecting, renamed
from monailabel_app.places import is_remote, studies_folder
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.train_request import (
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
        request: FewShotTraining,
        healthy: Sequence[Path],
        folder: Path,
        encoders: Any,
        watch: Watch,
        abnormal: frozenset[str],
    ) -> TrainingReport: ...


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
        self.train = train or train_few_shot

    def config(self) -> dict[str, Any]:
        """What a client may choose, with the choices."""
        return {
            "config": list(shipped_config_names()),
            "backbone": list(self.backbones),
            "shots": FewShotTraining().shots,
            "seed": FewShotTraining().seed,
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
            report = self.train(request.training, healthy.images, folder, encoders, watch, healthy.abnormal)
        except AnomaLabelError as error:
            raise self._told(error) from error
        return self._told_report(report).model_dump(mode="json")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """The call of MONAI Label's own server, which runs it in a process of its own."""
        values = {key: value for key, value in request.items() if key not in {"model", "gpus"}}
        return self.run(self.prepare(values, datastore), _log_progress)

    @property
    def _folder(self) -> Path | None:
        return None if is_remote(self.studies) else studies_folder(self.studies)

    @property
    def _names(self) -> dict[str, str]:
        """Paths of this machine to what a client knows them as."""
        return {} if self._folder is None else {f"{self._folder}/": "", str(self._folder): "studies"}

    def _told(self, error: AnomaLabelError) -> AnomaLabelError:
        """The error in a client's words: files of the studies by their names."""
        return renamed(error, self._names)

    def _told_report(self, report: TrainingReport) -> TrainingReport:
        """The report in a client's words."""
        left_out = report.left_out
        for path, name in self._names.items():
            left_out = tuple(one.model_copy(update={"reason": one.reason.replace(path, name)}) for one in left_out)
        return report.model_copy(update={"left_out": left_out})


def _log_progress(doing: str, done: int, total: int) -> None:
    logger.info("%s: %d of %d", doing, done, total)
