"""The infer task `few_shot_localization`: where an image departs from the healthy images a model was trained on."""

from __future__ import annotations

from typing import Any, ClassVar

from anomalabel.config import Method
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.infers.trained_localization import TrainedLocalization
from monailabel_app.trained_models import TrainedModels


class FewShotLocalization(TrainedLocalization):
    """Few-shot localization as MONAI Label sees it; arguments as `TrainedLocalization`."""

    method: ClassVar[Method] = "few_shot"

    def __init__(self, pipeline: Detecting, trained: TrainedModels) -> None:
        super().__init__(
            pipeline,
            trained,
            "Heatmap, uncertainty and boxes of what departs from the healthy images a model was trained on. "
            "Not for clinical use.",
        )

    def config(self) -> dict[str, Any]:
        """Models and planes, and whether the uncertainty is wanted."""
        return {**super().config(), "uncertainty": False}
