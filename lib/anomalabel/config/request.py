"""What a single call of `detect` or one `/infer` request may choose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anomalabel.config.base import Settings
from anomalabel.config.preprocessing import Planes

Method = Literal[
    "clap",
    "plp",
    "intensity",
    "normal_bank",
    "few_shot",
    "reconstruction",
    "reconstruction_none",
    "reconstruction_ear",
    "reconstruction_plp",
    "reconstruction_clap",
]
"""Methods by name; reconstruction takes the saliency that the config names, its variants their own."""

ExtraMap = Literal["saliency", "reconstruction"]
"""What some methods can show beside their anomaly map: where they looked, and what they believe healthy looks like."""

EMBEDDED = "embedded"
BIOMEDCLIP = "biomedclip"


class DetectionRequest(Settings):
    """What one call of `detect` or one `/infer` request may choose; None keeps the config's value."""

    config: str = Field(default="brain_mri", description="name of a shipped config, or path of a YAML file")
    method: Method = "clap"
    backbone: str = Field(default=EMBEDDED, description="image-text model: embedded, biomedclip, or a model folder")
    positive: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None
    planes: Planes | None = None
    threshold_sd: float | None = None
    minimum_volume_mm3: float | None = Field(default=None, ge=0)
    samples: int | None = Field(default=None, ge=1, le=1000)
    extra_maps: tuple[ExtraMap, ...] = Field(default=(), description="shown beside the heatmap; of reconstruction")
    seed: int = Field(default=0, ge=0, lt=2**32)
