"""What the infer tasks of trained models have in common: a model is found by its config, and brings its settings."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from anomalabel.config import DetectionRequest, ExtraMap, Method, parse_settings
from anomalabel.config.base import Settings
from anomalabel.config.preprocessing import Planes
from anomalabel.errors import ConfigError
from monailabel_app.infer_request import InferRequest, allowed_values, check_config
from monailabel_app.infers.detection_task import Detecting, DetectionTask
from monailabel_app.safety.names import shortened
from monailabel_app.trained_models import TrainedModels


class TrainedRequest(Settings):
    """What a client may choose; words and thresholds are the trained model's own."""

    config: str | None = Field(default=None, description="name of a shipped config; None: the trained model's")
    trained: str | None = Field(default=None, description="name of a trained model; None: the config's")
    planes: Planes | None = None
    minimum_volume_mm3: float | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    compact: bool = False
    uncertainty: bool = Field(default=False, description="send the uncertainty map too, where the method has one")

    @property
    def extra_maps(self) -> tuple[ExtraMap, ...]:
        """What else is wanted beside heatmap and uncertainty."""
        return ()


class TrainedLocalization(DetectionTask):
    """A method that detects with models of this server; a subclass says which.

    Args:
        pipeline: reads and detects, and loads a model again once its folder has changed; thread-safe.
        trained: the models of this method on this server.
        description: for people.
    """

    method: ClassVar[Method]
    request_type: ClassVar[type[TrainedRequest]] = TrainedRequest

    def __init__(self, pipeline: Detecting, trained: TrainedModels, description: str) -> None:
        super().__init__(pipeline, description)
        self.trained = trained

    def config(self) -> dict[str, Any]:
        """The models that are there now; a model brings its config."""
        return {"trained": list(self.trained.names), "planes": ["acquisition", "all"], "seed": 0, "compact": False}

    def parse(self, values: dict[str, Any]) -> InferRequest:
        """A request with the folder of the chosen model in the place of a backbone's name.

        Without `trained` it is the model of `config`; without both, the one of the default config.

        Raises:
            ConfigError: an unknown key or value, or a model that was trained for another config than the one asked for.
            ModelError: no such model is trained; says how to train it.
        """
        known = allowed_values(values, self.request_type.model_fields.keys())
        asked = parse_settings(self.request_type, known, "The request")
        name = asked.trained or asked.config or DetectionRequest().config
        if asked.config is not None:
            check_config(asked.config)
        folder = self.trained.require(name)
        if asked.config not in {None, name}:
            raise ConfigError(
                f"The model '{shortened(name)}' was trained for {name}, the request is about {asked.config}.",
                f"Leave config out, or choose the model of {asked.config}.",
            )
        chosen = asked.model_dump(include=TrainedRequest.model_fields.keys() - {"trained", "config"})
        return InferRequest(
            method=self.method, config=name, backbone=str(folder), extra_maps=asked.extra_maps, **chosen
        )
