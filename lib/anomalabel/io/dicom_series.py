"""Which DICOM images a folder holds, series by series."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from anomalabel.errors import ImageReadError
from anomalabel.io.damage import parsing

PREAMBLE_BYTES = 128
DICOM_MAGIC = b"DICM"
BARE_DATASET_STARTS = (b"\x02\x00", b"\x08\x00")
DICOM_SUFFIXES = {"", ".dcm", ".dicom", ".ima"}


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file that holds an image: where it lies and its header without pixels."""

    path: Path
    header: Dataset


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder, as shown to a user who has to choose."""

    uid: str
    description: str
    modality: str
    images: int

    def __str__(self) -> str:
        return f"{self.uid} ({self.modality or 'no modality'}, '{self.description}', {self.images} images)"


def is_dicom(head: bytes, suffix: str) -> bool:
    """Whether a file that begins with `head` (at least 132 bytes of it) is DICOM, with or without preamble."""
    if head[PREAMBLE_BYTES : PREAMBLE_BYTES + len(DICOM_MAGIC)] == DICOM_MAGIC:
        return True
    return suffix.lower() in DICOM_SUFFIXES and head.startswith(BARE_DATASET_STARTS)


def read_header(path: Path) -> Dataset:
    """The header of one DICOM file, without its pixels.

    Raises:
        ImageReadError: the header is damaged.
    """
    with parsing(path):
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def list_series(folder: Path) -> tuple[SeriesSummary, ...]:
    """The image series below a folder, largest first; reports, plans and directories are left out.

    Raises:
        ImageReadError: a header is damaged.
    """
    summaries = [
        SeriesSummary(
            uid=uid,
            description=str(files[0].header.get("SeriesDescription", "")),
            modality=str(files[0].header.get("Modality", "")),
            images=sum(int(file.header.get("NumberOfFrames", 1) or 1) for file in files),
        )
        for uid, files in _image_files(folder).items()
    ]
    return tuple(sorted(summaries, key=lambda summary: (-summary.images, summary.uid)))


def files_of_series(folder: Path, series_uid: str | None) -> list[DicomFile]:
    """The files of one series below a folder.

    Args:
        series_uid: Series Instance UID; None where the folder holds a single series.

    Raises:
        ImageReadError: no image, no such series, or several series and none chosen; lists what is there.
    """
    series = _image_files(folder)
    if not series:
        raise ImageReadError(f"{folder} holds no DICOM image.", "Give the folder of a DICOM series, or an image file.")
    if series_uid is None and len(series) == 1:
        return next(iter(series.values()))
    if series_uid in series:
        return series[series_uid]
    listed = "; ".join(str(summary) for summary in list_series(folder))
    if series_uid is None:
        raise ImageReadError(
            f"{folder} holds {len(series)} DICOM series: {listed}.", "Choose one by its UID (--series)."
        )
    raise ImageReadError(f"{folder} holds no series {series_uid}; it holds {listed}.", "Give one of these UIDs.")


def _files_below(folder: Path) -> list[Path]:
    """All files, sorted; unlike `Path.rglob` it does not pass over a folder that may not be read."""

    def fail(error: OSError) -> None:
        raise error

    paths = [Path(parent, name) for parent, _, names in os.walk(folder, onerror=fail) for name in names]
    return sorted(path for path in paths if path.is_file())


def _image_files(folder: Path) -> dict[str, list[DicomFile]]:
    """Files with pixels below `folder`, by Series Instance UID."""
    series: dict[str, list[DicomFile]] = defaultdict(list)
    for path in _files_below(folder):
        with path.open("rb") as stream:
            head = stream.read(PREAMBLE_BYTES + len(DICOM_MAGIC))
        if not is_dicom(head, path.suffix):
            continue
        header = read_header(path)
        if "Rows" in header:
            series[str(header.get("SeriesInstanceUID", ""))].append(DicomFile(path, header))
    return dict(series)
