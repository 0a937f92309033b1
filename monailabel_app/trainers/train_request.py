"""What a client asks of a training, and which images it may learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from pydantic import Field

from anomalabel.config import Settings, parse_settings
from anomalabel.errors import ConfigError
from anomalabel.io.listing import list_images
from anomalabel.learning.few_shot import FewShotTraining
from anomalabel.learning.reconstruction import ReconstructionTrainingRequest
from monailabel_app.infer_request import allowed_values, check_backbone, check_config
from monailabel_app.reviews.event import Verdict
from monailabel_app.safety.names import checked_name, shortened

LibraryTraining: TypeAlias = FewShotTraining | ReconstructionTrainingRequest
"""What the library's trainings take, one for each method."""


class HealthyChoice(Settings):
    """Where a training's images come from."""

    healthy: str | None = Field(
        default=None, description="name of a folder of healthy images in the studies; None: the reviews decide"
    )


@dataclass(frozen=True)
class TrainRequest:
    """One training as a client may ask for it.

    Args:
        training: the part that the library understands; its backbone is one that the server was started with.
        healthy: name of a folder of healthy images in the studies; None: the reviews decide.
    """

    training: LibraryTraining
    healthy: str | None

    def as_json(self) -> dict[str, Any]:
        """As it is shown in the status, and could be sent again."""
        return {**self.training.model_dump(mode="json"), "healthy": self.healthy}


class Images(Protocol):
    """What is needed of the datastore."""

    def list_images(self) -> list[str]: ...
    def get_image_uri(self, image_id: str) -> str: ...


@dataclass(frozen=True)
class HealthyStudies:
    """The images that a training may learn from.

    Args:
        images: files or DICOM series folders.
        abnormal: ids of all images that reviews call abnormal, or that still wait for a second reading.
    """

    images: tuple[Path, ...]
    abnormal: frozenset[str]


def build_train_request(
    values: dict[str, Any], kind: type[LibraryTraining], backbones: tuple[str, ...]
) -> TrainRequest:
    """Turn a client's decoded values into a request.

    Args:
        values: as they were sent.
        kind: what the method's training takes.
        backbones: what the server was started with; the first one is the default.

    Raises:
        ConfigError: a key that is unknown, a value out of range, or a config that is not shipped.
        ModelError: a backbone that the server was not started with.
    """
    known = allowed_values(values, kind.model_fields.keys() | HealthyChoice.model_fields.keys())
    # MONAI Label's Slicer plugin sends every row of its table, also the empty ones.
    given = {key: value for key, value in known.items() if value != ""}
    choice = {key: given.pop(key) for key in HealthyChoice.model_fields if key in given}
    healthy = parse_settings(HealthyChoice, choice, "The request").healthy
    training = parse_settings(kind, {"backbone": backbones[0], **given}, "The request")
    check_config(training.config)
    check_backbone(training.backbone, backbones)
    return TrainRequest(training, healthy)


def healthy_studies(
    folder: str | None, studies: Path | None, images: Images, verdicts: dict[str, Verdict], doubtful: frozenset[str]
) -> HealthyStudies:
    """The studies whose review says normal, or the images of a folder.

    Args:
        folder: its name in the studies, as the request gives it; None: the reviews decide.
        studies: the studies folder; None where the images lie in an archive.
        images: the datastore.
        verdicts: of the reviews, by image id.
        doubtful: ids of images that no model may learn health from, wherever they lie.

    Raises:
        ConfigError: no study is reviewed as normal, or there is no such folder among the studies.
        ImageReadError: a file or folder may not be read.
    """
    if folder is not None:
        listed = list_images(_folder_of_studies(folder, studies))
        return HealthyStudies(tuple(one.image for one in listed), doubtful)
    there = set(images.list_images())
    normal = sorted(image for image, verdict in verdicts.items() if verdict == "normal" and image in there)
    if not normal:
        raise ConfigError(
            "No study is reviewed as normal, so there is nothing to learn from.",
            "Review healthy studies as normal, or put healthy images into a folder of the studies and give its name "
            "as healthy.",
        )
    return HealthyStudies(tuple(Path(images.get_image_uri(image)) for image in normal), doubtful)


def _folder_of_studies(name: str, studies: Path | None) -> Path:
    remedy = "Put the healthy images into a folder in the studies folder and give its name."
    checked_name(name, "folder of the studies", remedy)
    folder = None if studies is None else studies / name
    if folder is None or studies is None or not folder.is_dir() or folder.resolve().parent != studies.resolve():
        raise ConfigError(f"There is no folder '{shortened(name)}' among the studies.", remedy)
    return folder
