"""What a trained model says about itself, schema `anomalabel.model/1`."""

from __future__ import annotations

import json
import platform
import re
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

import anomalabel
from anomalabel.config import AnatomyConfig, describe_validation
from anomalabel.errors import ModelError, writable
from anomalabel.finding import ModelIdentity, PromptTexts, Threshold

MODEL_SCHEMA: Literal["anomalabel.model/1"] = "anomalabel.model/1"
SCHEMA_NUMBER = re.compile(r"anomalabel\.model/(\d+)")
RECORDED_PACKAGES = ("torch", "numpy", "open_clip_torch", "timm")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, BeforeValidator(lambda name: writable(name) if isinstance(name, str) else name)]


def installed_versions() -> dict[str, str]:
    """Versions of this package, of Python and of what decides the numbers; what is not installed is left out."""
    found = {"anomalabel": anomalabel.__version__, "python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class HealthyImage(_Frozen):
    """One of the images that a model learned from: its file's name, and the hash of its files."""

    name: FileName
    sha256: Sha256


class TrainedModel(_Frozen):
    """All that is known of a trained model beside its weights.

    The whole config is in here, so that later edits of a YAML file don't change a model that was trained by it.
    """

    schema_: Literal["anomalabel.model/1"] = Field(default=MODEL_SCHEMA, alias="schema", serialization_alias="schema")
    method: str = Field(pattern=r"^[a-z0-9_]+$")
    config: AnatomyConfig
    backbone: ModelIdentity = Field(description="the frozen encoder whose features it learned on")
    encoder: str = Field(default="embedded", description="name or folder from which that encoder is loaded")
    prompts: PromptTexts
    healthy: tuple[HealthyImage, ...]
    seed: int = Field(ge=0)
    versions: dict[str, str] = Field(default_factory=installed_versions)
    metrics: dict[str, float] = Field(default_factory=dict)
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    weights_sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="of the tensors; filled in when the folder is written"
    )
    warnings: tuple[str, ...] = ()
    created: datetime = Field(default_factory=lambda: datetime.now(timezone.utc))

    def to_json(self) -> str:
        """What `parse_description` reads back, as plain finite JSON."""
        return self.model_dump_json(by_alias=True, indent=2)


def parse_description(text: str, where: str) -> TrainedModel:
    """The description of a model.

    Args:
        where: the file it comes from, for messages.

    Raises:
        ModelError: an older or a newer schema, or contents that do not fit it.
    """
    try:
        values: Any = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{where} describes no model: {error}.", "Copy the folder again, or train again.") from error
    _require_schema(values.get("schema") if isinstance(values, dict) else None, where)
    try:
        return TrainedModel.model_validate_json(text)
    except ValidationError as error:
        trained = values.get("versions")
        writer = trained.get("anomalabel") if isinstance(trained, dict) else None
        raise ModelError(
            f"{where} was written by AnomaLabel {writer or 'of an unknown version'} and does not fit "
            f"{anomalabel.__version__}: {describe_validation(error)}.",
            "Use the version that wrote it, or train again.",
        ) from error


def _require_schema(schema: object, where: str) -> None:
    if schema == MODEL_SCHEMA:
        return
    match = SCHEMA_NUMBER.fullmatch(schema) if isinstance(schema, str) else None
    if match is None:
        raise ModelError(f"{where} describes no model of AnomaLabel.", "Give a folder that training wrote.")
    if int(match[1]) > int(MODEL_SCHEMA.rpartition("/")[2]):
        raise ModelError(
            f"{where} has the schema {schema}, newer than {MODEL_SCHEMA}, which this version reads.",
            "Update AnomaLabel, or train again with this version.",
        )
    raise ModelError(
        f"{where} has the schema {schema}, older than {MODEL_SCHEMA}, which this version reads.",
        "Train again with this version.",
    )
