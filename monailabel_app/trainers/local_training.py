"""What all train tasks have in common: a request is parsed, its healthy images are found, and a model is put in use."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from anomalabel.config import shipped_config_names
from anomalabel.errors import AnomaLabelError
from anomalabel.learning.training_report import TrainingReport
from monailabel_app.background.work import Watch
from monailabel_app.infers.detection_task import Detecting, renamed
from monailabel_app.places import is_remote, studies_folder
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.train_request import (
    HealthyStudies,
    LibraryTraining,
    TrainRequest,
    build_train_request,
    healthy_studies,
)

logger = logging.getLogger(__name__)


class Training(Protocol):
    """What makes a model; see `anomalabel.learning`."""

    def __call__(
        self,
        request: Any,
        healthy: Sequence[Path],
        folder: Path,
        encoders: Any,
        watch: Watch,
        abnormal: frozenset[str],
    ) -> TrainingReport: ...


@dataclass(frozen=True)
class Workplace:
    """What the train tasks of one server share.

    Args:
        pipeline: whose loaded encoders a training uses.
        backbones: models that a client may name, the default first.
        studies: folder or address of the studies.
        reviews: which studies are normal.
    """

    pipeline: Detecting
    backbones: tuple[str, ...]
    studies: str
    reviews: ReviewStore


@dataclass(frozen=True)
class PreparedTraining:
    """A training that can start: its request is parsed and its images are found."""

    request: TrainRequest
    healthy: HealthyStudies


class LearningTask(TrainTask):
    """A method that learns from healthy studies, as MONAI Label sees it; a subclass says which.

    Args:
        workplace: shared with the other train tasks.
        trained: where models go; the old model of a config stays in use until the new one is whole.
        train: makes the model.
        description: for people.
    """

    request_type: ClassVar[type[LibraryTraining]]
    resumes: ClassVar[bool] = False
    """Whether a training that its server did not survive goes on where it was when it is asked for again."""

    def __init__(self, workplace: Workplace, trained: TrainedModels, train: Training, description: str) -> None:
        super().__init__(description)
        self.workplace = workplace
        self.trained = trained
        self.train = train

    @abstractmethod
    def choices(self) -> dict[str, Any]:
        """What a client may choose of this method alone, with the choices: a list stands for a combo box."""

    def config(self) -> dict[str, Any]:
        """What a client may choose, with the choices."""
        return {
            "config": list(shipped_config_names()),
            "backbone": list(self.workplace.backbones),
            **self.choices(),
            "seed": self.request_type().seed,
            "healthy": "",
        }

    def prepare(self, values: dict[str, Any], datastore: Datastore) -> PreparedTraining:
        """Check everything that can be checked before the work begins.

        Raises:
            AnomaLabelError: a bad request, no healthy studies, or reviews that are damaged.
        """
        request = build_train_request(values, self.request_type, self.workplace.backbones)
        try:
            verdicts = self.workplace.reviews.case_verdicts()
            doubtful = self.workplace.reviews.doubtful_as_healthy()
            healthy = healthy_studies(request.healthy, self._folder, datastore, verdicts, doubtful)
        except AnomaLabelError as error:
            raise self._told(error) from error
        return PreparedTraining(request, healthy)

    def run(self, prepared: PreparedTraining, watch: Watch) -> dict[str, Any]:
        """Train, and put the model where inference finds it.

        Raises:
            Cancelled: `watch` said so; the old model is as it was.
            AnomaLabelError: the images or the model cannot be used; no path of this machine in its text.
        """
        request, healthy = prepared.request.training, prepared.healthy
        folder = self.trained.place(request.config)
        try:
            watch("loading the encoder", 0, 0)
            encoders = self.workplace.pipeline.encoders(request.backbone)
            report = self.train(request, healthy.images, folder, encoders, watch, healthy.abnormal)
        except AnomaLabelError as error:
            raise self._told(error) from error
        return self._told_report(report).model_dump(mode="json")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """The call of MONAI Label's own server, which runs it in a process of its own."""
        values = {key: value for key, value in request.items() if key not in {"model", "gpus"}}
        return self.run(self.prepare(values, datastore), _log_progress)

    @property
    def _folder(self) -> Path | None:
        studies = self.workplace.studies
        return None if is_remote(studies) else studies_folder(studies)

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
