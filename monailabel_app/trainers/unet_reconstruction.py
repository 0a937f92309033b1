"""The train task `unet_reconstruction`: a network for one config that restores healthy images, from studies that are.

See clap.txt section 2.2.
"""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from anomalabel.config import Saliency
from anomalabel.learning.reconstruction import ReconstructionTrainingRequest, train_reconstruction
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.local_training import LearningTask, Training, Workplace
from monailabel_app.trainers.train_request import LibraryTraining

AS_CONFIGURED = ""


class UnetReconstructionTraining(LearningTask):
    """Its training as MONAI Label sees it; arguments as `LearningTask`, trained by the library by default."""

    request_type: ClassVar[type[LibraryTraining]] = ReconstructionTrainingRequest
    resumes: ClassVar[bool] = True

    def __init__(self, workplace: Workplace, trained: TrainedModels, train: Training | None = None) -> None:
        description = "Learns to restore a config's images from healthy studies. Not for clinical use."
        super().__init__(workplace, trained, train or train_reconstruction, description)

    def choices(self) -> dict[str, Any]:
        """What marks the regions to hide, and how long it learns; empty ones are the config's."""
        return {"saliency": [AS_CONFIGURED, *get_args(Saliency)], "epochs": AS_CONFIGURED, "samples": AS_CONFIGURED}
