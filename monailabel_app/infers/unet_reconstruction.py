"""The infer task `unet_reconstruction`: where an image differs from what a U-Net restores in its place.

The network has seen healthy images only (clap.txt section 2.2).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from anomalabel.config import ExtraMap, Method
from monailabel_app.infer_request import InferRequest
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.infers.trained_localization import TrainedLocalization, TrainedRequest
from monailabel_app.trained_models import TrainedModels


class ReconstructionRequest(TrainedRequest):
    """What a client may choose, with what an annotator can see beside the heatmap."""

    saliency: bool = Field(default=False, description="send too where the model looked, if it was trained so")
    reconstruction: bool = Field(default=False, description="send too what the model believes healthy")

    @property
    def extra_maps(self) -> tuple[ExtraMap, ...]:
        """Those of the two maps that are wanted."""
        wanted: tuple[tuple[ExtraMap, bool], ...] = (
            ("saliency", self.saliency),
            ("reconstruction", self.reconstruction),
        )
        return tuple(name for name, is_wanted in wanted if is_wanted)


class UnetReconstruction(TrainedLocalization):
    """Reconstruction by inpainting as MONAI Label sees it; arguments as `TrainedLocalization`."""

    method: ClassVar[Method] = "reconstruction"
    request_type: ClassVar[type[TrainedRequest]] = ReconstructionRequest

    def __init__(self, pipeline: Detecting, trained: TrainedModels) -> None:
        super().__init__(
            pipeline,
            trained,
            "Heatmap and boxes of what a network that has seen healthy images only cannot restore, with what it "
            "believes healthy and where it looked. Not for clinical use.",
        )

    def config(self) -> dict[str, Any]:
        """Models and planes, and which further maps are wanted."""
        return {**super().config(), "saliency": False, "reconstruction": False}

    def parse(self, values: dict[str, Any]) -> InferRequest:
        """As `TrainedLocalization.parse`; a saliency map that the model does not have is not asked of it."""
        request = super().parse(values)
        if "saliency" not in request.extra_maps or self._looks_somewhere(request.config):
            return request
        left = tuple(name for name in request.extra_maps if name != "saliency")
        return request.model_copy(update={"extra_maps": left})

    def _looks_somewhere(self, name: str) -> bool:
        return self.trained.describe(name).config.reconstruction.saliency != "none"
