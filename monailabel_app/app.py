"""What the app adds to MONAI Label: one pipeline for all tasks, a careful datastore and an honest /info/."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from anomalabel import __version__
from anomalabel.config import EMBEDDED, DetectionRequest, load_config, shipped_config_names
from anomalabel.prompts.render import render_prompts
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.trained_models import TrainedModels

DESCRIPTION = "Shows where an image departs from healthy anatomy. Not for clinical use."


def split_backbones(configuration: dict[str, str]) -> tuple[str, ...]:
    """Backbone names of MONAI Label's `--conf backbones a,b`; the embedded one by default."""
    names = [name.strip() for name in configuration.get("backbones", "").split(",")]
    return tuple(name for name in names if name) or (EMBEDDED,)


def build_pipeline(configuration: dict[str, str]) -> Detecting:
    """The real pipeline on the device of `--conf device NAME`, "auto" by default."""
    from anomalabel.pipeline import DetectionPipeline

    return DetectionPipeline(device=configuration.get("device", "auto"))


def anomalabel_info(backbones: tuple[str, ...], trained: Iterable[TrainedModels]) -> dict[str, Any]:
    """What a client needs to fill its lists: version, configs with their prompts, backbones, models of all methods."""
    return {
        "version": __version__,
        "configs": [config_info(name) for name in shipped_config_names()],
        "backbones": list(backbones),
        "trained": [facts for models in trained for facts in models.facts()],
    }


@lru_cache
def config_info(name: str) -> dict[str, Any]:
    """Name, title and the texts that a request without own prompts would be encoded with."""
    config = load_config(name)
    prompts = render_prompts(config, DetectionRequest(config=name))
    return {
        "name": name,
        "title": config.title,
        "positive": list(prompts.positive),
        "negative": list(prompts.negative),
    }
