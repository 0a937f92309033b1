"""What all infer tasks have in common: a request is parsed, the pipeline detects, files and report come back."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from anomalabel.config import DetectionRequest, ExtraMap
from anomalabel.errors import AnomaLabelError
from anomalabel.finding import FindingsReport
from anomalabel.io.write import write_compact_heatmap, write_heatmap
from anomalabel.volume import FloatArray, Volume
from monailabel_app.infer_request import InferRequest
from monailabel_app.safety.names import shortened

Progress = Callable[[int, int], None]

MONAI_LABEL_KEYS = frozenset({"model", "image", "label", "session"})
"""What MONAI Label's own server puts into a task's request beside the client's parameters."""


class Detected(Protocol):
    """What the pipeline returns."""

    @property
    def volume(self) -> Volume: ...
    @property
    def anomaly_map(self) -> FloatArray: ...
    @property
    def report(self) -> FindingsReport: ...
    @property
    def uncertainty_map(self) -> FloatArray | None: ...
    @property
    def extra_maps(self) -> Mapping[ExtraMap, FloatArray]: ...


class Detecting(Protocol):
    """What the tasks need of the pipeline."""

    def warm(self, backbone: str) -> None: ...
    def encoders(self, backbone: str) -> Any: ...
    def detect(self, source: Path, request: DetectionRequest, progress: Progress) -> Detected: ...


@dataclass(frozen=True)
class Inference:
    """A finished request: the files inside the folder that the caller gave, and the report.

    Args:
        maps: further maps on the heatmap's grid, by the name of their part in the reply: those that were asked for
            and that the method has.
    """

    heatmap: Path
    report: FindingsReport
    maps: Mapping[str, Path] = field(default_factory=dict)


class DetectionTask(InferTask):
    """A method as MONAI Label sees it; a subclass says which, and what a client may choose.

    Args:
        pipeline: reads and detects; thread-safe.
        description: for people.
    """

    def __init__(self, pipeline: Detecting, description: str) -> None:
        super().__init__(type=InferType.DETECTION, labels=["anomaly"], dimension=3, description=description)
        self.pipeline = pipeline

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What a client may choose, with the choices: a list stands for a combo box."""

    @abstractmethod
    def parse(self, values: dict[str, Any]) -> InferRequest:
        """Turn a client's decoded values into a request.

        Raises:
            ConfigError: a key that is unknown or not the client's to set, or a value out of range.
            ModelError: a model that the server does not have.
        """

    def is_valid(self) -> bool:
        """The task can always be listed; whether its models are loaded is told by /ready."""
        return True

    def run(self, source: Path, name: str, request: InferRequest, folder: Path, progress: Progress) -> Inference:
        """Detect, and write the maps into `folder`.

        Args:
            source: image file or DICOM series folder.
            name: what the report calls the image.
            request: parsed.
            folder: existing folder of the caller, who also deletes it.
            progress: called with (done, total); may raise Cancelled.

        Raises:
            AnomaLabelError: the image or the request cannot be used; no path of this machine in its text.
        """
        result = self.detect(source, name, request, progress)
        heatmap = folder / "heatmap.nrrd"
        report = result.report.model_copy(update={"image": name})
        if request.compact:
            slope, intercept = write_compact_heatmap(heatmap, result.anomaly_map, result.volume.affine_ras)
            facts = report.heatmap.model_copy(update={"slope": float(slope), "intercept": float(intercept)})
            report = report.model_copy(update={"heatmap": facts})
        else:
            write_heatmap(heatmap, result.anomaly_map, result.volume.affine_ras)
        maps = {}
        for part, values in _further_maps(request, result).items():
            maps[part] = folder / f"{part}.nrrd"
            write_heatmap(maps[part], values, result.volume.affine_ras)
        return Inference(heatmap, report, maps)

    def detect(self, source: Path, name: str, request: InferRequest, progress: Progress) -> Detected:
        """Detect and write nothing; arguments and errors as of `run`."""
        try:
            return self.pipeline.detect(source, request.detection, progress)
        except AnomaLabelError as error:
            raise renamed(error, {str(source): name, **_folder_names(request.backbone)}) from error

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The call of MONAI Label's own server and of its batch inference.

        Returns:
            a file in a temporary folder of its own (MONAI Label deletes the file) and the report.

        Raises:
            HTTPException: 422 with the reason.
        """
        own = {key: value for key, value in request.items() if key not in MONAI_LABEL_KEYS}
        source = Path(str(request["image"]))
        folder = Path(tempfile.mkdtemp(prefix="anomalabel-"))
        try:
            # Its reply holds one file.
            parsed = self.parse(own).model_copy(update={"uncertainty": False, "extra_maps": ()})
            inference = self.run(source, shortened(source.name), parsed, folder, _no_progress)
        except AnomaLabelError as error:
            folder.rmdir()
            raise HTTPException(422, str(error)) from error
        return str(inference.heatmap), inference.report.model_dump(mode="json", by_alias=True)


def renamed(error: AnomaLabelError, names: Mapping[str, str]) -> AnomaLabelError:
    """The same error with paths of the server replaced by what a client knows them as."""
    cause, remedy = error.cause, error.remedy
    for path, name in names.items():
        cause, remedy = cause.replace(path, name), remedy.replace(path, name)
    if (cause, remedy) == (error.cause, error.remedy):
        return error
    told = error.__class__.__new__(error.__class__)
    AnomaLabelError.__init__(told, cause, remedy)
    return told


def _further_maps(request: InferRequest, result: Detected) -> dict[str, FloatArray]:
    """What was asked for beside the heatmap, as far as the method has it."""
    maps: dict[str, FloatArray] = {}
    if request.uncertainty and result.uncertainty_map is not None:
        maps["uncertainty"] = result.uncertainty_map
    for name in request.extra_maps:
        maps[name] = result.extra_maps[name]
    return maps


def _folder_names(backbone: str) -> dict[str, str]:
    """A model's folder to its name, where the backbone is a folder."""
    folder = Path(backbone)
    return {backbone: folder.name} if folder.is_absolute() else {}


def _no_progress(done: int, total: int) -> None:
    """MONAI Label's own server has nowhere to show it."""
