"""The train task `few_shot_localization`: a model for one config from a few studies that are healthy."""

from __future__ import annotations

from typing import Any, ClassVar

from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.local_training import LearningTask, Training, Workplace
from monailabel_app.trainers.train_request import LibraryTraining


class FewShotLocalizationTraining(LearningTask):
    """Few-shot training as MONAI Label sees it; arguments as `LearningTask`, trained by the library by default."""

    request_type: ClassVar[type[LibraryTraining]] = FewShotTraining

    def __init__(self, workplace: Workplace, trained: TrainedModels, train: Training | None = None) -> None:
        description = "Learns a config's few-shot model from healthy studies. Not for clinical use."
        super().__init__(workplace, trained, train or train_few_shot, description)

    def choices(self) -> dict[str, Any]:
        """How many images are learned from."""
        return {"shots": FewShotTraining().shots}
