"""What all settings have in common, and how untyped values become settings."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from anomalabel.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen, every number finite, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


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
