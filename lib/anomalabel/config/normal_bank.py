"""Settings of the bank of healthy patch features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anomalabel.config.base import Settings


class NormalBankSettings(Settings):
    """Nearest neighbours among patch features of healthy images (method normal_bank)."""

    pooling: int = Field(default=3, ge=1, le=15, description="features are means over this many patches squared; odd")
    standardise: bool = Field(default=False, description="each channel by mean and sd of the healthy patches")
    metric: Literal["l2", "cosine"] = "cosine"
    balance_levels: bool = Field(default=True, description="levels count alike, however many channels each has")
    maximum_patches: int = Field(default=4096, ge=1, description="a seeded sample of the healthy patches is kept")
    slices_a_volume: int = Field(default=16, ge=1, description="of a healthy volume, evenly spread")
    score_share: float = Field(
        default=0.03, gt=0, le=1, description="image score = mean of this share of a slice's patches, the farthest ones"
    )
    batch_size: int = Field(default=8, ge=1, description="slices encoded together")

    @model_validator(mode="after")
    def _centred(self) -> NormalBankSettings:
        if self.pooling % 2 == 0:
            raise ValueError("pooling must be odd, so that a patch lies in the middle of its neighbourhood")
        return self
