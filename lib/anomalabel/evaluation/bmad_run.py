"""The comparison of CLAP's Table 2 on one set of BMAD: train on its training part, test on its test part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from anomalabel.config import (
    EMBEDDED,
    AnatomyConfig,
    CtWindow,
    ErrorKinds,
    ReconstructionSettings,
    Saliency,
    Settings,
    load_config,
    parse_settings,
)
from anomalabel.detectors.context import Encoders
from anomalabel.evaluation.datasets.bmad import bmad_set_named, read_bmad
from anomalabel.evaluation.evaluate import Written, evaluate
from anomalabel.evaluation.protocol import EvaluationRequest
from anomalabel.evaluation.reading import Watch
from anomalabel.evaluation.saliencies import RECONSTRUCTION, with_saliencies
from anomalabel.localization.patch_features import PatchStore

CONFIGS: Mapping[str, str] = {
    "brain": "brain_mri",
    "liver": "liver_ct",
    "resc": "retinal_oct",
    "oct2017": "retinal_oct",
    "chest": "chest_xray",
    "histopathology": "lymph_node_histology",
}
"""Shipped config of each of BMAD's sets."""

GREY_VALUES = CtWindow(center_hu=127.5, width_hu=255)
"""BMAD's CT slices are pictures, windowed already: 0 to 255 and no Hounsfield units."""


class BmadRun(Settings):
    """What one run asks for."""

    key: str = Field(description="of the set: brain, liver, resc, oct2017, chest or histopathology")
    saliencies: tuple[Saliency, ...] = Field(
        default=("clap", "plp", "ear", "none"), min_length=1, description="the first is compared with each other one"
    )
    draws: int = Field(default=3, ge=1, le=100, description="trainings, each with its own seed")
    epochs: int | None = Field(default=None, ge=1, description="None: as the config says")
    samples: int | None = Field(default=None, ge=1, description="drawn in an epoch; None: as the config says")
    published: bool = Field(default=False, description="score and error map as the paper has them")
    backbone: str = EMBEDDED
    resamples: int = Field(default=1000, ge=0, le=100_000, description="of the bootstrap over patients")
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"
    command: str = ""


def run_bmad(
    request: BmadRun,
    data: Path,
    out: Path,
    watch: Watch | None = None,
    encoders: Encoders | None = None,
    features: PatchStore | None = None,
) -> Written:
    """Learn from all of `train/good`, test on all of `test`; `valid` is not read. Nothing is tuned.

    Args:
        request: set, saliencies and settings.
        data: folder of BMAD's sets, or of this one.
        out: the results lie in its folder of the set's key.
        watch: told what is done; may raise to stop.
        encoders: None loads those that the request names.
        features: see `evaluation.evaluate.evaluate`.

    Raises:
        ConfigError: no such set, or its folder lacks a part.
        AnomaLabelError: see `evaluation.evaluate.evaluate`.
    """
    known = bmad_set_named(request.key)
    evaluation_set = read_bmad(data, known.key, need_train=True)
    values = {
        "config": CONFIGS[known.key],
        "methods": with_saliencies((RECONSTRUCTION,), request.saliencies),
        "shots": (),
        "all_shots": True,
        **request.model_dump(include={"draws", "backbone", "resamples", "seed", "device", "command"}),
    }
    asked = parse_settings(EvaluationRequest, values, "the command line")
    return evaluate(evaluation_set, asked, out / known.key, watch, encoders, features, config_of(request))


def config_of(request: BmadRun) -> AnatomyConfig:
    """The shipped config of the set, with what the request changes in it.

    Raises:
        ConfigError: there is no such set.
    """
    config = load_config(CONFIGS[bmad_set_named(request.key).key])
    preprocessing = config.preprocessing
    if isinstance(preprocessing.intensity, CtWindow):
        preprocessing = preprocessing.model_copy(update={"intensity": GREY_VALUES})
    return config.model_copy(
        update={"preprocessing": preprocessing, "reconstruction": _settings(config.reconstruction, request)}
    )


def _settings(settings: ReconstructionSettings, request: BmadRun) -> ReconstructionSettings:
    lengths = {name: value for name in ("epochs", "samples") if (value := getattr(request, name)) is not None}
    changed: dict[str, object] = {"training": settings.training.model_copy(update=lengths)}
    if request.published:
        changed |= {"score": "max", "healthy_level": False, "errors": ErrorKinds(msgms=1.0, features=0.0, cell=1)}
    return settings.model_copy(update=changed)
