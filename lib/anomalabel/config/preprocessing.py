"""How intensities are scaled, slices cut, and which voxels are body."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from anomalabel.config.base import Settings

Planes = Literal["acquisition", "all"]


class PercentileWindow(Settings):
    """Clip at two percentiles of the foreground, scale to [0, 1]."""

    kind: Literal["percentile"] = "percentile"
    low: float = Field(default=0.5, ge=0, lt=100)
    high: float = Field(default=99.5, gt=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> PercentileWindow:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class CtWindow(Settings):
    """Clip at centre +- width / 2 in Hounsfield units, scale to [0, 1]."""

    kind: Literal["ct_window"] = "ct_window"
    center_hu: float
    width_hu: float = Field(gt=0)


class ZScore(Settings):
    """Mean 0, standard deviation 1 over the foreground, clipped at +- `clip_sd` and scaled to [0, 1]."""

    kind: Literal["z_score"] = "z_score"
    clip_sd: float = Field(default=3.0, gt=0)


IntensityScaling = Annotated[PercentileWindow | CtWindow | ZScore, Field(discriminator="kind")]


class HistogramEqualisation(Settings):
    """Global histogram equalisation over the foreground."""

    kind: Literal["histogram"] = "histogram"
    bins: int = Field(default=256, ge=2)


class Clahe(Settings):
    """Contrast-limited adaptive histogram equalisation, slice by slice."""

    kind: Literal["clahe"] = "clahe"
    clip_limit: float = Field(default=0.01, gt=0, le=1)
    tiles: int = Field(default=8, ge=1, description="tiles along each side")


Equalisation = Annotated[HistogramEqualisation | Clahe, Field(discriminator="kind")]


class WaveletDenoising(Settings):
    """Daubechies wavelets with a soft threshold (BayesShrink), slice by slice."""

    wavelet: str = Field(default="db4", pattern=r"^db([1-9]|[12]\d|3[0-8])$")
    levels: int | None = Field(default=None, ge=1, description="null: as many as the slice allows, less three")


class ForegroundSettings(Settings):
    """Which voxels are body; the rest is air: not looked at, NaN in the heatmap."""

    enabled: bool = True
    closing_mm: float = Field(default=4.0, ge=0, description="gaps in the body narrower than this are filled")
    minimum_slice_fraction: float = Field(
        default=0.02, ge=0, lt=1, description="slices with less body than this are not looked at"
    )


class PreprocessingSettings(Settings):
    """Steps in the order they run: scaling, denoising, equalisation."""

    intensity: IntensityScaling = Field(default_factory=PercentileWindow)
    denoising: WaveletDenoising | None = None
    equalisation: Equalisation | None = None
    foreground: ForegroundSettings = Field(default_factory=ForegroundSettings)


class SliceSettings(Settings):
    """How a volume is cut into the 2-D images that the model sees."""

    planes: Planes = "acquisition"
