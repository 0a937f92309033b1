"""The infer task `clap_attention`: where an image departs from health, by text prompts for and against disease."""

from __future__ import annotations

from typing import Any

from anomalabel.config import shipped_config_names
from monailabel_app.infer_request import InferRequest, build_request
from monailabel_app.infers.detection_task import Detecting, DetectionTask


class ClapAttention(DetectionTask):
    """CLAP as MONAI Label sees it.

    Args:
        pipeline: reads and detects; thread-safe.
        backbones: the image-text models that a client may name, the default first.
    """

    def __init__(self, pipeline: Detecting, backbones: tuple[str, ...]) -> None:
        super().__init__(
            pipeline, "Heatmap and boxes of what departs from healthy anatomy, by words. Not for clinical use."
        )
        self.backbones = backbones

    def config(self) -> dict[str, Any]:
        """Configs, models and planes."""
        return {
            "config": list(shipped_config_names()),
            "backbone": list(self.backbones),
            "planes": ["acquisition", "all"],
            "seed": 0,
            "compact": False,
        }

    def parse(self, values: dict[str, Any]) -> InferRequest:
        """See `build_request`."""
        return build_request(values, "clap", self.backbones)
