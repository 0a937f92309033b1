"""The one door through which images come in."""

from __future__ import annotations

import gzip
from pathlib import Path

from anomalabel.errors import ImageReadError
from anomalabel.io.damage import parsing
from anomalabel.io.dicom import read_dicom_file, read_dicom_folder
from anomalabel.io.dicom_series import is_dicom
from anomalabel.io.nifti import GZIP_MAGIC, nifti_version, read_nifti
from anomalabel.io.nrrd import NRRD_MAGIC, read_nrrd
from anomalabel.io.picture import PICTURE_MAGICS, read_picture
from anomalabel.volume import Volume

SNIFFED_BYTES = 540
KNOWN_FORMATS = "DICOM, NIfTI, NRRD, PNG, JPEG and TIFF are read"


def read_volume(path: Path, series_uid: str | None = None) -> Volume:
    """Read an image of any supported format, told by its content.

    Args:
        path: a file, or a folder that holds a DICOM series.
        series_uid: Series Instance UID, needed where the folder holds several series; of DICOM alone.

    Returns:
        The image with values in the file's own units; NaN where the file holds no finite number.

    Raises:
        ImageReadError: missing, empty, damaged or of an unknown format; see the readers of each format.
    """
    try:
        if not path.exists():
            raise ImageReadError(f"{path} does not exist.", "Check the path.")
        if path.is_dir():
            return read_dicom_folder(path, series_uid)
        return _read_file(path, series_uid)
    except PermissionError as error:
        raise ImageReadError(f"{path} may not be read: {error}.", "Give this user the right to read it.") from error
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror}.", "Check the path and its disk.") from error


def _read_file(path: Path, series_uid: str | None) -> Volume:
    with path.open("rb") as stream:
        head = stream.read(SNIFFED_BYTES)
    if not head:
        raise ImageReadError(f"{path} is empty.", "Copy or export the file again.")
    if is_dicom(head, path.suffix):
        return read_dicom_file(path, series_uid)
    if series_uid is not None:
        raise ImageReadError(f"{path} is no DICOM file and has no series {series_uid}.", "Leave the series out.")
    if head.startswith(NRRD_MAGIC):
        return read_nrrd(path)
    if head.startswith(PICTURE_MAGICS):
        return read_picture(path)
    if nifti_version(_uncompressed_head(path) if head.startswith(GZIP_MAGIC) else head) or _is_pair(path):
        return read_nifti(path)
    claimed = "".join(path.suffixes[-2:]) or "no extension"
    raise ImageReadError(
        f"{path} ({claimed}) has none of the known contents; {KNOWN_FORMATS}.",
        "Give the image itself, or check that the file is complete.",
    )


def _is_pair(path: Path) -> bool:
    return path.suffix == ".img" and path.with_suffix(".hdr").is_file()


def _uncompressed_head(path: Path) -> bytes:
    with parsing(path), gzip.open(path, "rb") as stream:
        return stream.read(SNIFFED_BYTES)
