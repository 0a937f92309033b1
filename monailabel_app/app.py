"""What the app adds to MONAI Label: one pipeline for all tasks, a careful datastore and an honest /info/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask

from anomalabel import __version__
from anomalabel.config import EMBEDDED, DetectionRequest, load_config, shipped_config_names
from anomalabel.prompts.render import render_prompts
from monailabel_app.infers.detection_task import Detecting
from monailabel_app.trained_models import TrainedModels
from monailabel_app.worklist.orders import ORDERS

DESCRIPTION = "Shows where an image departs from healthy anatomy. Not for clinical use."

API = 1
"""Of the routes and what they send; a client that knows another one says so instead of guessing."""


def split_backbones(configuration: dict[str, str]) -> tuple[str, ...]:
    """Backbone names of MONAI Label's `--conf backbones a,b`; the embedded one by default."""
    names = [name.strip() for name in configuration.get("backbones", "").split(",")]
    return tuple(name for name in names if name) or (EMBEDDED,)


def build_pipeline(configuration: dict[str, str]) -> Detecting:
    """The real pipeline on the device of `--conf device NAME`, "auto" by default."""
    from anomalabel.pipeline import DetectionPipeline

    return DetectionPipeline(device=configuration.get("device", "auto"))


def anomalabel_info(
    backbones: tuple[str, ...], trained: Iterable[TrainedModels], trainers: Mapping[str, TrainTask]
) -> dict[str, Any]:
    """What a client needs to fill its lists: configs with their words, backbones, models of all methods, trainers.

    `api` counts up when a route changes so that an older client would misunderstand it. `login` and `reviewer` are
    those of a server without tokens; our own server knows better.
    """
    return {
        "version": __version__,
        "api": API,
        "login": False,
        "reviewer": None,
        "configs": [config_info(name) for name in shipped_config_names()],
        "backbones": list(backbones),
        "trained": [facts for models in trained for facts in models.facts()],
        "worklist_orders": list(ORDERS),
        "trainers": [{"name": name, "config_keys": list(task.config())} for name, task in trainers.items()],
    }


@lru_cache
def config_info(name: str) -> dict[str, Any]:
    """Name, title, the texts that a request without own prompts would be encoded with, and reasons to reject."""
    config = load_config(name)
    prompts = render_prompts(config, DetectionRequest(config=name))
    return {
        "name": name,
        "title": config.title,
        "positive": list(prompts.positive),
        "negative": list(prompts.negative),
        "rejection_reasons": list(config.review.rejection_reasons),
    }
