"""The form field `params` of an inference request, parsed once into one typed object."""

from __future__ import annotations

import json
import math
from collections.abc import Set
from typing import Any

from pydantic import Field

from anomalabel.config import DetectionRequest, Method, parse_settings, shipped_config_names
from anomalabel.errors import ConfigError, ModelError
from monailabel_app.safety.names import shortened

IGNORED_KEYS = frozenset(
    {
        "client_id",
        "description",
        "device",
        "label_info",
        "label_tag",
        "result_compress",
        "result_dtype",
        "result_extension",
        "save_label",
    }
)
"""Sent with every request by MONAI Label's stock clients; without meaning here."""

CHOICES = ("config", "backbone", "planes", "trained", "saliency")
PROMPTS = ("positive", "negative")
SERVER_KEYS = frozenset({"method", "extra_maps"})
"""Of a request, decided by the task: a client asks for a map by its name."""

MAXIMUM_PROMPTS = 64


class InferRequest(DetectionRequest):
    """One inference request: what is detected and how the heatmap is sent."""

    compact: bool = Field(default=False, description="send the heatmap as uint8 with slope and intercept")
    uncertainty: bool = Field(default=False, description="send the uncertainty map too, where the method has one")

    @property
    def detection(self) -> DetectionRequest:
        """The part that the pipeline understands."""
        return DetectionRequest(**self.model_dump(exclude={"compact", "uncertainty"}))


def parse_params(text: str, method: Method, backbones: tuple[str, ...]) -> InferRequest:
    """Parse the JSON text of the form field `params` for a method that reads prompts; see `build_request`."""
    return build_request(decode_params(text), method, backbones)


def decode_params(text: str) -> dict[str, Any]:
    """The JSON object in the form field `params`; an empty field is an empty object.

    Raises:
        ConfigError: no JSON object, or numbers that are not finite.
    """
    try:
        values = json.loads(text or "{}", parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The form field params is no JSON: {error}.", "Send a JSON object.") from error
    if not isinstance(values, dict):
        raise ConfigError("The form field params is no JSON object.", 'Send an object, for example {"seed": 1}.')
    return values


def build_request(values: dict[str, Any], method: Method, backbones: tuple[str, ...]) -> InferRequest:
    """Turn decoded values into a request.

    Args:
        values: as `decode_params` gives them.
        method: decided by the task in the address, never by the client.
        backbones: what the server was started with; the first one is the default.

    Raises:
        ConfigError: a key that is unknown or not the client's to set, or a value out of range.
        ModelError: a backbone that the server was not started with.
    """
    known = allowed_values(values, InferRequest.model_fields.keys() - SERVER_KEYS)
    for key in PROMPTS:
        if isinstance(known.get(key), str):
            known[key] = [known[key]]
    known.setdefault("backbone", backbones[0])
    request = parse_settings(InferRequest, {**known, "method": method}, "The request")
    _check_names(request, backbones)
    return request


def allowed_values(values: dict[str, Any], allowed: Set[str]) -> dict[str, Any]:
    """The values that mean something here.

    A list for one of `CHOICES` counts as its first entry, since the configuration table of MONAI Label's
    Slicer plugin sends combo boxes as the list with the choice first; an empty list counts as no choice.

    Args:
        values: decoded; keys of `IGNORED_KEYS` are left out.
        allowed: keys that a client may set.

    Raises:
        ConfigError: another key.
    """
    known = {key: value for key, value in values.items() if key not in IGNORED_KEYS}
    foreign = sorted(known.keys() - allowed)
    if foreign:
        raise ConfigError(
            f"The request has keys that a client cannot set: {', '.join(shortened(key) for key in foreign)}.",
            f"Use only {', '.join(sorted(allowed))}.",
        )
    for key in CHOICES:
        if isinstance(known.get(key), list):
            known[key] = known[key][0] if known[key] else None
    return known


def check_config(name: str) -> None:
    """Raise ConfigError where no config of that name is shipped: a client names configs, never files."""
    if name not in shipped_config_names():
        raise ConfigError(
            f"There is no config '{shortened(name)}'.", f"Choose one of {', '.join(shipped_config_names())}."
        )


def check_backbone(name: str, backbones: tuple[str, ...]) -> None:
    """Raise ModelError where the server was not started with a model."""
    if name not in backbones:
        raise ModelError(
            f"The server was not started with the model '{shortened(name)}'.",
            f"Choose one of {', '.join(backbones)}, or restart it with this one.",
        )


def _check_names(request: InferRequest, backbones: tuple[str, ...]) -> None:
    check_config(request.config)
    check_backbone(request.backbone, backbones)
    for key in PROMPTS:
        if len(getattr(request, key) or ()) > MAXIMUM_PROMPTS:
            raise ConfigError(f"{key} holds more than {MAXIMUM_PROMPTS} prompts.", "Send fewer.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shortened(text)} is out of range")
    return value
