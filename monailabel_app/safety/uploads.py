"""Uploaded images: which kinds are taken, and how they reach our own temporary folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import IO, BinaryIO

from anomalabel.errors import ImageReadError
from monailabel_app.safety.names import shortened

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
SERIES_SUFFIX = ".zip"
MAXIMUM_SERIES_FILES = 20_000
COPY_BYTES = 1024**2


def image_suffix(name: str) -> str:
    """The suffix of an image file name, lower case, "" where it is none of `IMAGE_SUFFIXES`."""
    lowered = name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if lowered.endswith(suffix)), "")


def save_upload(content: BinaryIO, name: str, folder: Path, maximum_bytes: int) -> Path:
    """Write an uploaded image under a name of our own.

    Args:
        content: the upload, at its start.
        name: the client's file name; only its suffix is used.
        folder: existing empty folder of ours.
        maximum_bytes: bound on what a zipped DICOM series may unpack to.

    Returns:
        a file, or for a zipped DICOM series a folder.

    Raises:
        ImageReadError: unknown suffix, empty, or a bad archive.
    """
    suffix = SERIES_SUFFIX if name.lower().endswith(SERIES_SUFFIX) else image_suffix(name)
    if not suffix:
        raise ImageReadError(
            f"The uploaded file '{shortened(name)}' is of no known kind.",
            f"Send one of {', '.join(IMAGE_SUFFIXES)}, or a DICOM series as {SERIES_SUFFIX}.",
        )
    target = folder / f"upload{suffix}"
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, COPY_BYTES)
    if target.stat().st_size == 0:
        raise ImageReadError(f"The uploaded file '{shortened(name)}' is empty.", "Save the image again and resend it.")
    return unpack_series(target, folder / "series", maximum_bytes) if suffix == SERIES_SUFFIX else target


def unpack_series(archive: Path, folder: Path, maximum_bytes: int) -> Path:
    """Write the files of a zipped DICOM series, renamed to numbers, into `folder`.

    Raises:
        ImageReadError: no zip archive, damaged, empty, too many files or larger than `maximum_bytes` when unpacked.
    """
    folder.mkdir()
    remaining = maximum_bytes
    try:
        with zipfile.ZipFile(archive) as zipped:
            entries = [entry for entry in zipped.infolist() if not entry.is_dir()]
            if not 0 < len(entries) <= MAXIMUM_SERIES_FILES:
                raise ImageReadError(
                    f"The uploaded archive holds {len(entries)} files.", f"Send 1 to {MAXIMUM_SERIES_FILES} slices."
                )
            for number, entry in enumerate(entries):
                with zipped.open(entry) as source, (folder / f"{number:06d}.dcm").open("wb") as target:
                    remaining -= _copy_bounded(source, target, remaining)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError) as error:
        raise ImageReadError(f"The uploaded archive cannot be unpacked: {error}.", "Zip the series again.") from error
    archive.unlink()
    return folder


def _copy_bounded(source: IO[bytes], target: BinaryIO, maximum_bytes: int) -> int:
    written = 0
    while chunk := source.read(COPY_BYTES):
        written += len(chunk)
        if written > maximum_bytes:
            raise ImageReadError("The uploaded archive unpacks to more than the upload limit.", "Send fewer slices.")
        target.write(chunk)
    return written
