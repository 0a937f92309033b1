"""Wiring: which tasks and which datastore the MONAI Label app has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from anomalabel import __version__
from monailabel_app.app import (
    DESCRIPTION,
    anomalabel_info,
    build_pipeline,
    split_backbones,
)
from monailabel_app.infers.clap_attention import ClapAttention
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.infers.few_shot_localization import FewShotLocalization
from monailabel_app.infers.unet_reconstruction import UnetReconstruction
from monailabel_app.places import (
    is_remote,
    masks_folder,
    models_folder,
    reviews_folder,
    scores_folder,
    studies_folder,
)
from monailabel_app.reviews.label_copy import LabelCopies
from monailabel_app.reviews.labelled_studies import LabelledStudies
from monailabel_app.reviews.masks import MaskStore
from monailabel_app.reviews.standings import Standings
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.scoring.store import ScoreStore
from monailabel_app.strategies.next_case import next_case_strategies
from monailabel_app.trained_models import TrainedModels
from monailabel_app.trainers.few_shot_localization import FewShotLocalizationTraining
from monailabel_app.trainers.local_training import Training, Workplace
from monailabel_app.trainers.unet_reconstruction import UnetReconstructionTraining
from monailabel_app.worklist.leases import Leases
from monailabel_app.worklist.worklist import Worklist

FEW_SHOT = "few_shot_localization"
RECONSTRUCTION = "unet_reconstruction"


class AnomaLabelApp(MONAILabelApp):
    """The app; MONAI Label finds it because it names `MONAILabelApp` as a direct base.

    Args:
        app_dir: this folder.
        studies: folder of images.
        conf: `device` and `backbones` (comma-separated).
        pipeline: what detects; made from `conf` where it is not given.
        trainings: what makes models, by train task; the library's own where none is given.
    """

    def __init__(
        self,
        app_dir: str,
        studies: str,
        conf: dict[str, str],
        pipeline: Detecting | None = None,
        trainings: Mapping[str, Training] | None = None,
    ) -> None:
        self.backbones = split_backbones(conf)
        self.pipeline = build_pipeline(conf) if pipeline is None else pipeline
        self.trained = {task: TrainedModels(models_folder(studies, task), task) for task in (FEW_SHOT, RECONSTRUCTION)}
        self.reviews = ReviewStore(reviews_folder(studies))
        self.scores = ScoreStore(scores_folder(studies))
        self.masks = MaskStore(masks_folder(studies))
        self.leases = Leases()
        standings = Standings(self.reviews)
        self.worklist = Worklist(standings, self.leases, self.scores)
        self._trainings = trainings or {}
        super().__init__(app_dir, studies, conf, name="AnomaLabel", description=DESCRIPTION, version=__version__)
        self.label_copies: LabelCopies | None = None
        if isinstance(self._datastore, LabelledStudies):
            self.label_copies = LabelCopies(self.reviews, standings, self.masks, self._datastore)

    def init_datastore(self) -> Datastore:
        """Our own datastore for a folder, MONAI Label's for a picture archive."""
        return super().init_datastore() if is_remote(self.studies) else LabelledStudies(studies_folder(self.studies))

    def init_infers(self) -> dict[str, InferTask]:
        """The tasks, by the name in their address."""
        return {
            "clap_attention": ClapAttention(self.pipeline, self.backbones),
            FEW_SHOT: FewShotLocalization(self.pipeline, self.trained[FEW_SHOT]),
            RECONSTRUCTION: UnetReconstruction(self.pipeline, self.trained[RECONSTRUCTION]),
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """The train tasks, by the name in their address."""
        workplace = Workplace(self.pipeline, self.backbones, self.studies, self.reviews)
        tasks = {FEW_SHOT: FewShotLocalizationTraining, RECONSTRUCTION: UnetReconstructionTraining}
        return {name: task(workplace, self.trained[name], self._trainings.get(name)) for name, task in tasks.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """The worklist's orders, by the name in their address."""
        return next_case_strategies(self.worklist)

    @property
    def infers(self) -> dict[str, InferTask]:
        """What `init_infers` made."""
        return self._infers

    @property
    def trainers(self) -> dict[str, TrainTask]:
        """What `init_trainers` made."""
        return self._trainers

    def info(self) -> dict[str, Any]:
        """MONAI Label's description of the app, and under `anomalabel` what our own client needs."""
        return {**super().info(), "anomalabel": anomalabel_info(self.backbones, self.trained.values(), self.trainers)}
