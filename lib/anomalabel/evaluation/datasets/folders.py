"""Folders of normal and abnormal images, with masks and boxes beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.datasets.boxes import read_boxes
from anomalabel.io.listing import ListedImage, list_images
from anomalabel.io.mask import read_mask


def list_folders(
    normal: Sequence[Path],
    abnormal: Sequence[Path],
    healthy: Sequence[Path] = (),
    patient_pattern: str | None = None,
) -> EvaluationSet:
    """The images below folders, with `NAME_mask.*` and YOLO's `NAME.txt` beside `NAME.*` as their truth.

    An identity is the folder's name (with parents, where folders are called the same) and the path below it, so it
    stays the same wherever the data lie.

    Args:
        normal: folders of images without disease.
        abnormal: folders of images with disease.
        healthy: folders to draw shots from; without them shots are drawn from `normal`.
        patient_pattern: regular expression with one group, searched in each identity; what the group matches names the
            patient, and where the group takes no part in the match the patient is unknown.

    Raises:
        ConfigError: a folder is missing or without images, a file is listed twice, an image that should be free of
            disease has a mask or box that is not empty, or the pattern is none or leaves an identity unmatched.
        ImageReadError: a box file is broken (names its line), or a file may not be read. Damaged images are listed.
    """
    if not normal and not abnormal:
        raise ConfigError("There is nothing to test.", "Give folders of normal and of abnormal images.")
    names = _names([*normal, *abnormal, *healthy])
    tested = [*_cases(normal, names, abnormal=False), *_cases(abnormal, names, abnormal=True)]
    apart = _cases(healthy, names, abnormal=False)
    require_apart([*tested, *apart])
    sides = (", ".join(names[folder] for folder in folders) for folders in (normal, abnormal) if folders)
    listed = EvaluationSet(" against ".join(sides), tuple(tested), tuple(apart))
    return listed if patient_pattern is None else name_patients(listed, patient_pattern)


def name_patients(evaluation_set: EvaluationSet, pattern: str) -> EvaluationSet:
    """The set with the patients that a pattern reads from the identities; see `list_folders`.

    Raises:
        ConfigError: it is no regular expression with one group, or leaves an identity unmatched.
    """
    expression = _compiled(pattern)
    cases, healthy = (_with_patients(some, expression) for some in (evaluation_set.cases, evaluation_set.healthy))
    return replace(evaluation_set, cases=cases, healthy=healthy)


def require_apart(cases: Iterable[EvaluationCase]) -> None:
    """Raise ConfigError where one file is listed as two cases, under whatever path it was given."""
    seen: dict[Path, EvaluationCase] = {}
    for case in cases:
        place = case.image.resolve()
        if place in seen:
            other = seen[place]
            raise ConfigError(
                f"{case.image} is listed twice, as {other.identity} and as {case.identity}.",
                "Keep normal, abnormal and healthy images apart, each given once.",
            )
        seen[place] = case


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """As many last steps of each path as tell all of them apart, the same number for all."""
    steps = {folder: Path(os.path.normpath(folder.absolute())).parts[1:] for folder in folders}
    for count in range(1, max(map(len, steps.values())) + 1):
        names = {folder: "/".join(parts[-count:]) for folder, parts in steps.items()}
        if len(set(names.values())) == len(steps):
            break
    return names


def _cases(folders: Sequence[Path], names: dict[Path, str], abnormal: bool) -> list[EvaluationCase]:
    cases = []
    for folder in folders:
        for listed in list_images(folder):
            if abnormal and listed.boxes is not None:
                read_boxes(listed.boxes)
            if not abnormal:
                _require_no_disease(listed)
            below = listed.image.relative_to(folder).as_posix()
            identity = names[folder] if below == "." else f"{names[folder]}/{below}"
            mask, boxes = (listed.mask, listed.boxes) if abnormal else (None, None)
            cases.append(EvaluationCase(identity, listed.image, abnormal, mask, boxes))
    return cases


def _require_no_disease(listed: ListedImage) -> None:
    remedy = "Move the image to the abnormal folder, or empty the file if the image is healthy."
    if listed.mask is not None and read_mask(listed.mask).any():
        raise ConfigError(f"{listed.image} is listed as normal and its mask {listed.mask} holds disease.", remedy)
    if listed.boxes is not None and read_boxes(listed.boxes):
        raise ConfigError(f"{listed.image} is listed as normal and {listed.boxes} holds boxes.", remedy)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"The patient pattern '{pattern}' is no regular expression: {error}.", "Correct it."
        ) from error
    if expression.groups != 1:
        raise ConfigError(
            f"The patient pattern '{pattern}' has {expression.groups} groups.",
            r"Put brackets around what names the patient, as in '(person\d+)_'; (?:...) groups without naming.",
        )
    return expression


def _with_patients(cases: tuple[EvaluationCase, ...], expression: re.Pattern[str]) -> tuple[EvaluationCase, ...]:
    matches = [(case, expression.search(case.identity)) for case in cases]
    unmatched = [case.identity for case, match in matches if match is None]
    if unmatched:
        raise ConfigError(
            f"The patient pattern '{expression.pattern}' matches {len(cases) - len(unmatched)} of {len(cases)} images; "
            f"not, for instance, '{unmatched[0]}'.",
            r"Widen it, as in '(person\d+|IM-\d+)'; end it with '|$' to leave other patients unknown.",
        )
    return tuple(replace(case, patient=match[1]) for case, match in matches if match is not None)
