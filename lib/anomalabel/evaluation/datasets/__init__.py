"""Data sets in the layouts they are shared in: folders, BMAD, few-shot split files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationSet
from anomalabel.evaluation.datasets.bmad import read_bmad
from anomalabel.evaluation.datasets.few_shot_splits import read_split
from anomalabel.evaluation.datasets.folders import list_folders, name_patients

__all__ = ["LAYOUTS", "list_folders", "name_patients", "read_bmad", "read_dataset", "read_split"]


def _bmad(place: str) -> EvaluationSet:
    path, separator, name = place.rpartition(":")
    named = bool(separator) and not Path(place).is_dir() and not set(name) & set("/\\")
    return read_bmad(Path(path), name) if named else read_bmad(Path(place))


LAYOUTS: dict[str, Callable[[str], EvaluationSet]] = {
    "bmad": _bmad,
    "split": lambda place: read_split(Path(place)),
}


def read_dataset(text: str) -> EvaluationSet:
    """The set that a user names as `bmad:PATH`, `bmad:PATH:SET` or `split:PATH`.

    Raises:
        ConfigError: the layout is unknown, or the folder is not in it.
        ImageReadError: a file or folder may not be read.
    """
    layout, _, place = text.partition(":")
    if layout not in LAYOUTS or not place:
        raise ConfigError(f"'{text}' names no data set.", "Give bmad:FOLDER, bmad:FOLDER:SET or split:FOLDER.")
    return LAYOUTS[layout](place)
