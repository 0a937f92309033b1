"""The form field `params` of an inference request, parsed once into one typed object."""

from __future__ import annotations

import json
import math
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

CHOICES = ("config", "backbone", "planes")
PROMPTS = ("positive", "negative")
MAXIMUM_PROMPTS = 64


class InferRequest(DetectionRequest):
    """One inference request: what is detected and how the heatmap is sent."""

    compact: bool = Field(default=False, description="send the heatmap as uint8 with slope and intercept")

    @property
    def detection(self) -> DetectionRequest:
        """The part that the pipeline understands."""
        return DetectionRequest(**self.model_dump(exclude={"compact"}))


def parse_params(text: str, method: Method, backbones: tuple[str, ...]) -> InferRequest:
    """Parse the JSON text of the form field `params`.

    Args:
        text: a JSON object, or "" for none.
        method: decided by the task in the address, never by the client.
        backbones: what the server was started with; the first one is the default.

    Raises:
        ConfigError: no JSON object, a key that is unknown or not the client's to set, or a value out of range.
        ModelError: a backbone that the server was not started with.
    """
    try:
        values = json.loads(text or "{}", parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The form field params is no JSON: {error}.", "Send a JSON object.") from error
    if not isinstance(values, dict):
        raise ConfigError("The form field params is no JSON object.", 'Send an object, for example {"seed": 1}.')
    return build_request(values, method, backbones)


def build_request(values: dict[str, Any], method: Method, backbones: tuple[str, ...]) -> InferRequest:
    """Turn decoded values into a request; see `parse_params`.

    A list for one of `CHOICES` counts as its first entry, since the configuration table of MONAI Label's
    Slicer plugin sends combo boxes as the list with the choice first.
    """
    known = {key: value for key, value in values.items() if key not in IGNORED_KEYS}
    foreign = sorted(key for key in known if key == "method" or key not in InferRequest.model_fields)
    if foreign:
        raise ConfigError(
            f"The request has keys that a client cannot set: {', '.join(shortened(key) for key in foreign)}.",
            f"Use only {', '.join(sorted(InferRequest.model_fields.keys() - {'method'}))}.",
        )
    for key in CHOICES:
        if isinstance(known.get(key), list):
            known[key] = known[key][0] if known[key] else None
    for key in PROMPTS:
        if isinstance(known.get(key), str):
            known[key] = [known[key]]
    known.setdefault("backbone", backbones[0])
    request = parse_settings(InferRequest, {**known, "method": method}, "The request")
    _check_names(request, backbones)
    return request


def _check_names(request: InferRequest, backbones: tuple[str, ...]) -> None:
    if request.config not in shipped_config_names():
        raise ConfigError(
            f"There is no config '{shortened(request.config)}'.", f"Choose one of {', '.join(shipped_config_names())}."
        )
    if request.backbone not in backbones:
        raise ModelError(
            f"The server was not started with the model '{shortened(request.backbone)}'.",
            f"Choose one of {', '.join(backbones)}, or restart it with this one.",
        )
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
