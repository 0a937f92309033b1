"""Settings: one YAML file per anatomy and modality, and what a single request may change.

Every number that a user can set lives here with its default; unknown keys are errors.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anomalabel.errors import ConfigError

Planes = Literal["acquisition", "all"]
Method = Literal["clap", "plp", "intensity", "normal_bank"]

EMBEDDED = "embedded"
BIOMEDCLIP = "biomedclip"


class Settings(BaseModel):
    """Base of all settings: frozen, every number finite, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


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


class PromptSettings(Settings):
    """Texts for and against disease: fixed ones, and templates filled from conditions, anatomy and modality."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    positive_templates: tuple[str, ...] = ()
    negative_templates: tuple[str, ...] = ()


class Bottleneck(Settings):
    """Where the bottleneck lies in an image encoder, and how strongly it compresses."""

    layer: int = Field(default=7, ge=0, description="the bottleneck follows this block, counted from 0")
    beta: float = Field(default=0.1, gt=0)


class AttentionSettings(Bottleneck):
    """M2IB constants (clap.txt eq. 1) and how many noise samples estimate its expectation."""

    models: dict[str, Bottleneck] = Field(
        default={"embedded": Bottleneck(layer=0, beta=0.2)},
        description="for models of these names, instead of layer and beta: the constants belong to a network",
    )
    steps: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    initial_alpha: float = 5.0
    samples: int = Field(default=2, ge=1, description="noise samples a step; even numbers when antithetic")
    antithetic: bool = Field(default=True, description="pair each noise sample with its negative")
    batch_size: int = Field(default=8, ge=1, description="slices optimised together")
    specificity_bound: float = Field(
        default=0.2, ge=0, le=2, description="below this mean (1 - rank correlation) the result carries a warning"
    )

    @model_validator(mode="after")
    def _paired(self) -> AttentionSettings:
        if self.antithetic and self.samples % 2:
            raise ValueError("antithetic noise needs an even number of samples")
        return self

    def for_model(self, name: str) -> AttentionSettings:
        """These settings with the layer and beta of the model called `name`."""
        own = self.models.get(name)
        return self if own is None else self.model_copy(update=own.model_dump())


class FindingSettings(Settings):
    """From map to boxes."""

    threshold_sd: float = Field(default=0.674, description="region = map > mean + this many sd (clap.txt eq. 2)")
    minimum_volume_mm3: float = Field(default=100.0, ge=0, description="of a volume")
    minimum_area_mm2: float = Field(default=25.0, ge=0, description="of a 2-D image")
    maximum_count: int = Field(default=50, ge=1, description="the highest-scoring ones are kept, the rest is said")


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


class AnatomyConfig(Settings):
    """One file of `configs/`: what is looked at, with which words, and how."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    anatomy: str
    modality: str
    conditions: tuple[str, ...] = ()
    prompts: PromptSettings
    preprocessing: PreprocessingSettings = Field(default_factory=PreprocessingSettings)
    slices: SliceSettings = Field(default_factory=SliceSettings)
    attention: AttentionSettings = Field(default_factory=AttentionSettings)
    normal_bank: NormalBankSettings = Field(default_factory=NormalBankSettings)
    findings: FindingSettings = Field(default_factory=FindingSettings)


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
    seed: int = Field(default=0, ge=0, lt=2**32)


def shipped_config_names() -> tuple[str, ...]:
    """Names of the configs that come with the package, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))
    )


def load_config(name_or_path: str | Path) -> AnatomyConfig:
    """Read one anatomy config.

    Args:
        name_or_path: a name from `shipped_config_names`, or the path of a YAML file.

    Raises:
        ConfigError: no such config, not YAML, an unknown key or a value out of range; names file and key.
    """
    text, where = _config_text(str(name_or_path))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where} is not valid YAML: {reason}.", "Correct the file.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings.", "Start from one of the shipped configs.")
    return parse_settings(AnatomyConfig, values, where)


def parse_settings(kind: type[S], values: dict[str, Any], where: str) -> S:
    """Turn untyped values into settings.

    Raises:
        ConfigError: one line that names `where`, the key, and what is wrong with it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_validation(error)}.", "Correct or remove these keys.") from error


def describe_validation(error: ValidationError) -> str:
    """All complaints of pydantic in one line, each led by its key."""
    parts = []
    for complaint in error.errors():
        key = ".".join(str(step) for step in complaint["loc"]) or "settings"
        message = "unknown key" if complaint["type"] == "extra_forbidden" else complaint["msg"]
        parts.append(f"{key}: {message}")
    return "; ".join(parts)


def _shipped() -> Any:
    return files("anomalabel_configs")


def _config_text(name_or_path: str) -> tuple[str, str]:
    if name_or_path in shipped_config_names():
        entry = _shipped() / f"{name_or_path}.yaml"
        return entry.read_text(encoding="utf-8"), f"config {name_or_path}"
    path = Path(name_or_path)
    try:
        if path.suffix in {".yaml", ".yml"} and path.is_file():
            return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Give a readable YAML file in UTF-8.") from error
    raise ConfigError(
        f"There is no config '{name_or_path}'.",
        f"Choose one of {', '.join(shipped_config_names())}, or give the path of a YAML file.",
    )
