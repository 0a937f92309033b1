"""Scoring studies one by one with an infer task, so that a worklist can be put in order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from anomalabel.config import Settings, parse_settings
from anomalabel.errors import Cancelled, ConfigError, ImageReadError, OutputError
from anomalabel.finding import FindingsReport
from monailabel_app.background.work import Watch, reason_of
from monailabel_app.infer_request import InferRequest
from monailabel_app.infers.detection_task import DetectionTask
from monailabel_app.jobs import Job
from monailabel_app.safety.names import is_plain_name, shortened
from monailabel_app.scoring.store import ScoreStore, StudyScore

STAGE = "scoring"

OnDevice = Callable[[Callable[[Job], FindingsReport]], "Future[FindingsReport]"]
"""Runs work when it is its turn on the device."""


class ScoringChoice(Settings):
    """Which studies are scored: those that the task never scored, all of them anew, or those of a list of ids.

    A studies folder of several anatomies is scored list by list, each with its own config.
    """

    images: Literal["unscored", "all"] | tuple[str, ...] = "unscored"


class Studies(Protocol):
    """What is needed of the datastore."""

    def list_images(self) -> list[str]: ...
    def get_image_uri(self, image_id: str) -> str: ...


@dataclass(frozen=True)
class ScoringRequest:
    """A scoring that can start.

    Args:
        task_name: under which scores are kept.
        task: detects.
        detection: parsed as for inference, without maps beside the heatmap.
        shown: what the client asked, for the status.
        images: ids of the studies to score, sorted.
    """

    task_name: str
    task: DetectionTask
    detection: InferRequest
    shown: dict[str, Any]
    images: tuple[str, ...]


def prepare_scoring(
    task_name: str, task: DetectionTask, values: dict[str, Any], studies: Studies, store: ScoreStore
) -> ScoringRequest:
    """Check everything that can be checked before the work begins.

    Args:
        values: as they were sent: the keys of an inference with this task, and `images` of `ScoringChoice`.

    Raises:
        ConfigError: a key that is unknown or not the client's to set, or a value out of range.
        ModelError: a model that the server does not have.
    """
    choice = parse_settings(ScoringChoice, {key: values[key] for key in ("images",) if key in values}, "The request")
    asked = {key: value for key, value in values.items() if key != "images"}
    detection = task.parse(asked).model_copy(update={"uncertainty": False, "extra_maps": ()})
    there = sorted(image for image in studies.list_images() if is_plain_name(image))
    if isinstance(choice.images, tuple):
        there = _listed(choice.images, there)
    elif choice.images == "unscored":
        there = [image for image in there if task_name not in store.scores(image)]
    return ScoringRequest(task_name, task, detection, {**asked, "images": choice.images}, tuple(there))


def _listed(wanted: tuple[str, ...], there: list[str]) -> list[str]:
    unknown = sorted(set(wanted) - set(there))
    if unknown:
        raise ConfigError(
            f"There is no image '{shortened(unknown[0])}'.", "Name images as GET /datastore/?output=all lists them."
        )
    return sorted(set(wanted))


@dataclass
class Scoring:
    """One scoring on its way.

    Args:
        request: what is scored.
        studies: where the images lie.
        store: where scores are kept.
        on_device: one study at a time, so that a request of a person waits for one study at most.
        tell: takes note of a study that was skipped.
    """

    request: ScoringRequest
    studies: Studies
    store: ScoreStore
    on_device: OnDevice
    tell: Callable[[str], None]
    skipped: list[dict[str, str]] = field(default_factory=list)

    def run(self, watch: Watch) -> dict[str, Any]:
        """Score every study; one that cannot be scored is told and skipped.

        Args:
            watch: called with the studies done.

        Returns:
            `task`, `scored` (how many) and `skipped` (image and reason of each).

        Raises:
            Cancelled: `watch` said so; scores so far are kept.
            OutputError: a score cannot be kept.
            ImageReadError: there are studies and not one of them could be scored.
        """
        images = self.request.images
        for done, image in enumerate(images):
            watch(STAGE, done, len(images))
            self._score(image)
        watch(STAGE, len(images), len(images))
        if images and len(self.skipped) == len(images):
            raise ImageReadError(
                f"None of the {len(images)} studies could be scored.", f"The first one: {self.skipped[0]['reason']}"
            )
        scored = len(images) - len(self.skipped)
        return {"task": self.request.task_name, "scored": scored, "skipped": self.skipped}

    def _score(self, image: str) -> None:
        detecting = self.on_device(lambda job: self._detect(image, job))
        error = detecting.exception()
        if isinstance(error, Cancelled):
            raise error
        if error is not None:
            reason = reason_of(error, f"Detection in {image}")
            self.skipped.append({"image": image, "reason": reason})
            self.tell(f"{image} was skipped: {reason}")
            return
        if not self.store.note(image, self.request.task_name, StudyScore.of(detecting.result())):
            raise OutputError(
                "The server cannot keep scores in its studies folder.",
                "Make room on the disk, or give the server that right.",
            )

    def _detect(self, image: str, job: Job) -> FindingsReport:
        request = self.request
        source = self.studies.get_image_uri(image)
        if not source:
            raise ImageReadError(f"{image} is no longer among the studies.", "Put it back and score again.")
        return request.task.detect(Path(source), image, request.detection, job.progress).report
