"""One file per anatomy and modality: what is looked at, with which words, and how."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator

from anomalabel.config.attention import AttentionSettings
from anomalabel.config.base import Settings, parse_settings
from anomalabel.config.few_shot import AugmentationSettings, FewShotSettings
from anomalabel.config.normal_bank import NormalBankSettings
from anomalabel.config.preprocessing import PreprocessingSettings, SliceSettings
from anomalabel.config.reconstruction import ReconstructionSettings
from anomalabel.errors import ConfigError


class PromptSettings(Settings):
    """Texts for and against disease: fixed ones, and templates filled from conditions, anatomy and modality."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    positive_templates: tuple[str, ...] = ()
    negative_templates: tuple[str, ...] = ()
    synonyms: int = Field(
        default=0, ge=0, le=16, description="at most this many synonyms of each condition join the ensemble"
    )


class FindingSettings(Settings):
    """From map to boxes."""

    threshold_sd: float = Field(default=0.674, description="region = map > mean + this many sd (clap.txt eq. 2)")
    minimum_volume_mm3: float = Field(default=100.0, ge=0, description="of a volume")
    minimum_area_mm2: float = Field(default=25.0, ge=0, description="of a 2-D image")
    maximum_count: int = Field(default=50, ge=1, description="the highest-scoring ones are kept, the rest is said")


class ReviewSettings(Settings):
    """How findings are reviewed; decides nothing about what is found."""

    rejection_reasons: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(
            "Artefact",
            "Normal anatomy",
            "Normal variant",
            "Known and not relevant",
            "Wrong place or size",
            "Other",
        ),
        min_length=1,
        description="what a reviewer may choose from when rejecting a finding, in this order",
    )

    @field_validator("rejection_reasons")
    @classmethod
    def _differ(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        if len({reason.strip().casefold() for reason in reasons} - {""}) < len(reasons):
            raise ValueError("a reason is empty or stands there twice")
        return reasons


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
    augmentation: AugmentationSettings = Field(default_factory=AugmentationSettings)
    few_shot: FewShotSettings = Field(default_factory=FewShotSettings)
    reconstruction: ReconstructionSettings = Field(default_factory=ReconstructionSettings)
    findings: FindingSettings = Field(default_factory=FindingSettings)
    review: ReviewSettings = Field(default_factory=ReviewSettings)

    def deciding_json(self) -> str:
        """What decides results, as JSON to be hashed: another list of rejection reasons makes no other result."""
        return self.model_dump_json(exclude={"review"})


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
