"""Reads the training manifest: a CSV that says for each image what is known about it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalabel.config import ForegroundSettings, PreprocessingSettings
from anomalabel.errors import ConfigError
from anomalabel.io.read import read_volume
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.slices import extract_slice, slice_positions, slice_spacing_mm
from anomalabel.training.captions import CONDITIONS_OF, MODALITY_NAMES
from anomalabel.training.facts import HEALTHY
from anomalabel.training.images import TrainingImages
from anomalabel.volume import FloatArray, Volume

COLUMNS = ("image", "mask", "boxes", "anatomy", "modality", "condition", "part")
TRAIN = "train"
SIDE = 224
MINIMUM_SLICE_FRACTION = 0.08
"""Slices of a volume with less body than this teach nothing."""


@dataclass(frozen=True)
class ManifestRow:
    """One image; `mask` and `boxes` are empty where there are none, `condition` is "healthy" or a disease."""

    image: str
    mask: str
    boxes: str
    anatomy: str
    modality: str
    condition: str
    part: str


def read_manifest(path: Path) -> list[ManifestRow]:
    """All rows.

    Raises:
        ConfigError: the file is missing, is no text, or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ConfigError(f"{path} has the columns {reader.fieldnames}.", f"Give {', '.join(COLUMNS)}.")
            rows = list(reader)
    except OSError as error:
        raise ConfigError(f"The manifest {path} cannot be read: {error.strerror}.", "Name an existing CSV.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The manifest {path} is no CSV in UTF-8.", "Name a CSV.") from error
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ConfigError(f"Image {number} of {path} has not {len(COLUMNS)} values.", f"Give {', '.join(COLUMNS)}.")
    return [ManifestRow(**row) for row in rows]


def load_training_images(path: Path, progress: Callable[[int, int], None]) -> TrainingImages:
    """The rows of part "train", volumes cut into slices of all three planes, each framed as in detection.

    Raises:
        ConfigError: there are none, or one names what no caption has words for.
        ImageReadError: an image cannot be read.
    """
    rows = [row for row in read_manifest(path) if row.part == TRAIN]
    if not rows:
        raise ConfigError(f"{path} has no image of part '{TRAIN}'.", "Name the part of each image in its last column.")
    for row in rows:
        _check_words(row)
    columns: dict[str, list] = defaultdict(list)
    for number, row in enumerate(rows):
        progress(number, len(rows))
        for image, lesion, plane in _slices(row):
            diseased = lesion.any() if row.mask and row.condition != HEALTHY else row.condition != HEALTHY
            columns["image"].append((image * 255).round().astype(np.uint8))
            columns["lesion"].append((lesion * 255).astype(np.uint8))
            columns["located"].append(bool(row.mask or row.boxes) or not diseased)
            columns["anatomy"].append(row.anatomy)
            columns["modality"].append(row.modality)
            columns["plane"].append(plane)
            columns["condition"].append(row.condition if diseased else HEALTHY)
    return TrainingImages(**{name: np.array(values) for name, values in columns.items()})


def _check_words(row: ManifestRow) -> None:
    """Raise ConfigError unless captions have words for what a row says."""
    conditions = (HEALTHY, *CONDITIONS_OF.get(row.anatomy, ()))
    for word, known in (
        (row.anatomy, CONDITIONS_OF),
        (row.modality, MODALITY_NAMES),
        (row.condition, conditions),
    ):
        if word not in known:
            raise ConfigError(f"'{word}' of {row.image} is none of {', '.join(known)}.", "Correct the manifest.")


def _slices(row: ManifestRow) -> Iterator[tuple[FloatArray, FloatArray, str]]:
    """Image and lesion (SIDE, SIDE) in [0, 1] and the plane's name, "" where it is not known."""
    volume = read_volume(Path(row.image))
    settings = PreprocessingSettings(foreground=ForegroundSettings(enabled=row.modality == "MRI"))
    prepared = prepare_volume(volume, settings)
    lesion = lesion_mask(row, volume)
    for position in slice_positions(volume, "all", prepared.seen, MINIMUM_SLICE_FRACTION):
        seen = extract_slice(prepared.seen, volume.affine_ras, position)
        frame = SquareFrame.around(
            (seen.shape[0], seen.shape[1]), slice_spacing_mm(volume.affine_ras, position), SIDE, seen
        )
        framed = [
            frame.to_model(extract_slice(array, volume.affine_ras, position)).clip(0, 1)
            for array in (prepared.scaled, lesion)
        ]
        yield framed[0], framed[1], "" if position.plane == "image" else position.plane


def lesion_mask(row: ManifestRow, volume: Volume) -> FloatArray:
    """(Z, Y, X) float32, 1 inside a mask or box, 0 elsewhere."""
    if row.mask:
        return (read_volume(Path(row.mask)).array > 0).astype(np.float32)
    lesion = np.zeros(volume.shape, dtype=np.float32)
    if row.boxes:
        height, width = volume.shape[1:]
        for line in Path(row.boxes).read_text(encoding="utf-8").splitlines():
            x, y, w, h = (float(value) for value in line.split()[1:])
            rows = slice(int((y - h / 2) * height), int(np.ceil((y + h / 2) * height)))
            columns = slice(int((x - w / 2) * width), int(np.ceil((x + w / 2) * width)))
            lesion[:, rows, columns] = 1
    return lesion
