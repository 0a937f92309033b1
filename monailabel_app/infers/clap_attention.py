"""The infer task `clap_attention`: where an image departs from health, by text prompts for and against disease."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from anomalabel.config import DetectionRequest, Method, shipped_config_names
from anomalabel.errors import AnomaLabelError
from anomalabel.finding import FindingsReport
from anomalabel.io.write import write_compact_heatmap, write_heatmap
from anomalabel.volume import FloatArray, Volume
from monailabel_app.infer_request import InferRequest, build_request
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


class Detecting(Protocol):
    """What the task needs of the pipeline."""

    def warm(self, backbone: str) -> None: ...
    def detect(self, source: Path, request: DetectionRequest, progress: Progress) -> Detected: ...


@dataclass(frozen=True)
class Inference:
    """A finished request: the heatmap file inside the folder that the caller gave, and its report."""

    heatmap: Path
    report: FindingsReport


class ClapAttention(InferTask):
    """CLAP as MONAI Label sees it.

    Args:
        pipeline: reads and detects; thread-safe.
        backbones: the image-text models that a client may name, the default first.
    """

    method: Method = "clap"

    def __init__(self, pipeline: Detecting, backbones: tuple[str, ...]) -> None:
        super().__init__(
            type=InferType.DETECTION,
            labels=["anomaly"],
            dimension=3,
            description="Heatmap and boxes of what departs from healthy anatomy. Not for clinical use.",
            config={
                "config": list(shipped_config_names()),
                "backbone": list(backbones),
                "planes": ["acquisition", "all"],
                "seed": 0,
                "compact": False,
            },
        )
        self.pipeline = pipeline
        self.backbones = backbones

    def is_valid(self) -> bool:
        """The task can always be listed; whether its models are loaded is told by /ready."""
        return True

    def run(self, source: Path, name: str, request: InferRequest, folder: Path, progress: Progress) -> Inference:
        """Detect, and write the heatmap into `folder`.

        Args:
            source: image file or DICOM series folder.
            name: what the report calls the image.
            request: parsed.
            folder: existing folder of the caller, who also deletes it.
            progress: called with (done, total); may raise Cancelled.

        Raises:
            AnomaLabelError: the image or the request cannot be used; no path of this machine in its text.
        """
        try:
            result = self.pipeline.detect(source, request.detection, progress)
        except AnomaLabelError as error:
            raise named_after(error, source, name) from error
        heatmap = folder / "heatmap.nrrd"
        report = result.report.model_copy(update={"image": name})
        if request.compact:
            slope, intercept = write_compact_heatmap(heatmap, result.anomaly_map, result.volume.affine_ras)
            facts = report.heatmap.model_copy(update={"slope": float(slope), "intercept": float(intercept)})
            report = report.model_copy(update={"heatmap": facts})
        else:
            write_heatmap(heatmap, result.anomaly_map, result.volume.affine_ras)
        return Inference(heatmap, report)

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
            parsed = build_request(own, self.method, self.backbones)
            inference = self.run(source, shortened(source.name), parsed, folder, _no_progress)
        except AnomaLabelError as error:
            folder.rmdir()
            raise HTTPException(422, str(error)) from error
        return str(inference.heatmap), inference.report.model_dump(mode="json", by_alias=True)


def named_after(error: AnomaLabelError, source: Path, name: str) -> AnomaLabelError:
    """The same error with the server's path replaced by the image's name."""
    if str(source) not in str(error):
        return error
    renamed = error.__class__.__new__(error.__class__)
    cause, remedy = (text.replace(str(source), name) for text in (error.cause, error.remedy))
    AnomaLabelError.__init__(renamed, cause, remedy)
    return renamed


def _no_progress(done: int, total: int) -> None:
    """MONAI Label's own server has nowhere to show it."""
