"""What evaluations of BMAD's sets left behind, read back from their metrics.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anomalabel.config import describe_validation
from anomalabel.errors import ConfigError
from anomalabel.evaluation.datasets.bmad import BMAD_SETS
from anomalabel.evaluation.evaluate import METRICS_FILE
from anomalabel.evaluation.results import SCHEMA


class _Read(BaseModel):
    """Part of a file that holds more than is read here."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Auroc(_Read):
    """A share, 0 to 1, over the draws."""

    mean: float | None
    std: float | None


class MeasuredMethod(_Read):
    """One method on one set."""

    image_auroc: Auroc
    description: str = ""


class _Training(_Read):
    epochs: int
    samples: int


class _Errors(_Read):
    features: float
    cell: int


class _Reconstruction(_Read):
    training: _Training
    errors: _Errors
    healthy_level: bool
    score: str
    score_share: float


class _Config(_Read):
    reconstruction: _Reconstruction


class _Set(_Read):
    name: str


class _Protocol(_Read):
    set: _Set
    model: str
    shots: tuple[int, ...]
    all_shots: bool = False
    draws: tuple[object, ...]
    config: _Config


class _Failed(_Read):
    identity: str


class MeasuredSet(_Read):
    """The metrics.json of an evaluation of one of BMAD's sets."""

    schema_name: Literal["anomalabel.metrics/1"] = Field(alias="schema")
    methods: dict[str, MeasuredMethod]
    protocol: _Protocol
    failed: tuple[_Failed, ...] = ()

    @property
    def key(self) -> str | None:
        """Of the set, None where it is none of BMAD's."""
        return next((known.key for known in BMAD_SETS if known.title == self.protocol.set.name), None)


def read_results(folders: Sequence[Path]) -> dict[str, MeasuredSet]:
    """Results by the key of their set.

    Args:
        folders: each that of one evaluation, or of several.

    Raises:
        ConfigError: a folder holds no evaluation of a BMAD set, or two hold the same set.
    """
    found: dict[str, tuple[Path, MeasuredSet]] = {}
    for path in dict.fromkeys(path for folder in folders for path in _files(folder)):
        result = _read(path)
        key = result.key
        if key is None:
            raise ConfigError(
                f"{path} is of {result.protocol.set.name}, none of BMAD's sets.", "Name folders of `bmad run`."
            )
        if key in found:
            raise ConfigError(f"{found[key][0]} and {path} are of the same set.", "Name one of them.")
        found[key] = path, result
    return {key: result for key, (_, result) in found.items()}


def _files(folder: Path) -> list[Path]:
    own = folder / METRICS_FILE
    files = [own] if own.is_file() else sorted(folder.glob(f"*/{METRICS_FILE}"))
    if not files:
        raise ConfigError(f"{folder} holds no {METRICS_FILE}.", "Name the folder that `bmad run` wrote into.")
    return files


def _read(path: Path) -> MeasuredSet:
    try:
        return MeasuredSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Check that it is readable.") from error
    except ValidationError as error:
        raise ConfigError(
            f"{path} holds no results of {SCHEMA}: {describe_validation(error)}.", "Run the evaluation again."
        ) from error
