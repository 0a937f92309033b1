"""Findings and their JSON form, schema `anomalabel.findings/1`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Literal["anomalabel.findings/1"] = "anomalabel.findings/1"

Index = tuple[int, int, int]
Point = tuple[float, float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Finding(_Frozen):
    """One suspected region: a box in voxel indices and in world millimetres, with its scores.

    Indices are (i, j, k) = (X, Y, Z). The box in the world is exact for oblique and flipped affines:
    `center_*` is the middle of the box, `axes_ras` holds the unit directions of i, j and k, and
    `size_mm` the edge lengths along them, voxel borders included.
    """

    id: str
    label: str
    score: float = Field(description="largest map value inside the region")
    mean_score: float = Field(description="mean map value inside the region")
    uncertainty: float | None = Field(description="mean of the uncertainty map, null where the method has none")
    volume_mm3: float
    peak_index: Index
    index_min: Index
    index_max: Index = Field(description="inclusive")
    center_ras: Point
    center_lps: Point
    size_mm: Point
    axes_ras: tuple[Point, Point, Point]


class ModelIdentity(_Frozen):
    """Which weights made a result."""

    name: str
    weights_sha256: str


class PromptTexts(_Frozen):
    """The texts that were encoded, after templates were filled in."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


class Threshold(_Frozen):
    """The map value above which a voxel belongs to a finding, and how it was chosen."""

    value: float
    rule: str


class Heatmap(_Frozen):
    """Facts about the heatmap file that travels beside the findings.

    `slope` and `intercept` are set for a compact (uint8) file: value = slope * stored + intercept, stored 0 = unseen.
    """

    grid: Index = Field(description="(X, Y, Z) voxels of the source grid")
    min: float
    max: float
    slope: float | None = None
    intercept: float | None = None


class FindingsReport(_Frozen):
    """What `detect` writes as STEM.findings.json and the server sends as `params`."""

    schema_: Literal["anomalabel.findings/1"] = Field(default=SCHEMA, alias="schema", serialization_alias="schema")
    image: str
    method: str
    model: ModelIdentity
    config: str
    prompts: PromptTexts
    image_score: float
    calibrated: bool
    threshold: Threshold
    image_threshold: Threshold | None = Field(
        default=None, description="image scores above are abnormal; null where the method is not calibrated"
    )
    minimum_volume_mm3: float | None = Field(
        default=None, description="smaller regions above the threshold are left out"
    )
    prompt_specificity: float | None = Field(description="0 (map ignores its prompt) to 2; see attention.specificity")
    nonfinite_voxels: int
    spacing_known: bool
    heatmap: Heatmap
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self, indent: int | None = 2) -> str:
        """The report as JSON text with plain finite numbers."""
        return self.model_dump_json(by_alias=True, indent=indent)
