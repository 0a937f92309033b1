"""The split files with which few-shot papers share CheXpert, BrainMRI and BUSI (MediCLIP, MICCAI 2024).

    SET/samples/train.json     healthy images to draw shots from
    SET/samples/test.json      tested
    SET/images/                what the lines of both name

Both files hold one JSON object per line, for instance

    {"filename": "test/abnormal/benign_86.jpg", "label": 1, "label_name": "abnormal", "clsname": "benign",
     "mask": "test/ground_true/benign_mask_86.jpg"}

`filename` and `mask` are relative to `images`; `label` is 0 for normal and 1 for abnormal; `mask` (`maskname` in the
older files of this kind) is there only where the lesion was drawn, as in BUSI; `patient` may name who was imaged, which
the published files don't. Other keys are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.datasets.folders import require_apart


class SplitLine(BaseModel):
    """One image of a split file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    filename: str = Field(min_length=1)
    label: Literal[0, 1]
    mask: str | None = Field(default=None, validation_alias=AliasChoices("mask", "maskname"))
    patient: str | None = None


def read_split(folder: Path) -> EvaluationSet:
    """The set below a folder, as its split files divide it.

    Args:
        folder: holds `samples/train.json`, `samples/test.json` and `images`; the two files, or the images, may also lie
            in the folder itself.

    Returns:
        The cases of `test.json`, and as healthy ones those of `train.json`; identities are the `filename`s.

    Raises:
        ConfigError: a file or folder is missing, a line is broken (named with its file), an image or mask does not
            exist, an image is listed twice, or `train.json` holds an abnormal one.
    """
    train, test = _split_file(folder, "train.json"), _split_file(folder, "test.json")
    images = folder / "images" if (folder / "images").is_dir() else folder
    healthy = _cases(train, images)
    abnormal = [case.identity for case in healthy if case.abnormal]
    if abnormal:
        raise ConfigError(
            f"{train} lists {len(abnormal)} abnormal images, for instance {abnormal[0]}.",
            "Shots are healthy: move these lines to test.json.",
        )
    tested = _cases(test, images)
    require_apart([*tested, *healthy])
    return EvaluationSet(folder.resolve().name, tuple(tested), tuple(healthy))


def _split_file(folder: Path, name: str) -> Path:
    places = [folder / "samples" / name, folder / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(f"{places[0]} does not exist.", "Give the folder that holds samples and images.")
    return found


def _cases(file: Path, images: Path) -> list[EvaluationCase]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.", "Give one JSON object per line, in UTF-8.") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ConfigError(f"{file} lists no image.", "Give one JSON object per line.")
    return [_case(line, f"{file}, line {number}", images) for number, line in numbered]


def _case(line: str, place: str, images: Path) -> EvaluationCase:
    try:
        parsed = SplitLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"])
        raise ConfigError(
            f"{place} is no image of a split: {f'{field}: ' if field else ''}{first['msg']}.",
            'Give lines like {"filename": "test/normal/1.jpg", "label": 0}.',
        ) from error
    image = _existing(images / parsed.filename, place)
    mask = _existing(images / parsed.mask, place) if parsed.mask and parsed.label else None
    return EvaluationCase(parsed.filename, image, bool(parsed.label), mask, patient=parsed.patient)


def _existing(path: Path, place: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"{path}, which {place} names, does not exist.", "Unpack the images beside the split files.")
    return path
