"""Corrected masks that reviewers sent: kept once under the hash of their content, on the grid of their image."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from anomalabel.errors import ConfigError, ImageReadError, OutputError
from anomalabel.io.grid import Grid, read_grid
from anomalabel.io.label_map import read_label_map
from anomalabel.io.nifti import GZIP_MAGIC, nifti_version
from anomalabel.io.nrrd import NRRD_MAGIC
from anomalabel.io.read import SNIFFED_BYTES
from anomalabel.io.write import replacing
from monailabel_app.reviews.event import SHA256
from monailabel_app.reviews.store import sync_folder
from monailabel_app.safety.names import checked_name, shortened

SUFFIXES = (".nrrd", ".nii.gz", ".nii")
COPY_BYTES = 1024**2


class MaskStore:
    """The masks of all images, `IMAGE/SHA256.nrrd` (or `.nii.gz`, `.nii`: a mask is kept as it came).

    Args:
        folder: made with the first mask.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, image: str, sha256: str, content: BinaryIO, source: Path, workplace: Path) -> Path:
        """Check a mask and keep it; one that is there already is left as it is.

        Args:
            image: whose mask it is.
            sha256: of the content, as the client counted it.
            content: NRRD or NIfTI, at its start.
            source: the image, whose grid the mask must have.
            workplace: existing empty folder in which the mask is read before it is kept.

        Returns:
            where it lies; on the disk when this returns.

        Raises:
            ConfigError: a name that is none, or the content has another hash.
            ImageReadError: no label map, or one on another grid.
            OutputError: it cannot be written.
        """
        folder = self._folder_of(image, sha256)
        received = workplace / "mask"
        with _writing():
            if _copy(content, received) != sha256:
                raise ConfigError("The mask's content has not the SHA-256 of its address.", "Send it again, unchanged.")
            if (there := self.find(image, sha256)) is not None and sha256_of(there) == sha256:
                return there
            suffix = _suffix(received)
            _check(received.rename(received.with_suffix(suffix)), image, image_grid(source))
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{sha256}{suffix}"
            with replacing(target) as temporary:
                shutil.copyfile(received.with_suffix(suffix), temporary)
            for changed in (folder, self._folder, self._folder.parent):
                sync_folder(changed)
        return target

    def find(self, image: str, sha256: str) -> Path | None:
        """Where a mask lies, None where it was never sent.

        Raises:
            ConfigError: a name that is none.
        """
        folder = self._folder_of(image, sha256)
        return next((path for suffix in SUFFIXES if (path := folder / f"{sha256}{suffix}").is_file()), None)

    def require(self, image: str, sha256: str) -> Path:
        """Where a mask lies, its content compared with its hash.

        Raises:
            ConfigError: it was never sent, or is damaged.
        """
        path = self.find(image, sha256)
        if path is None:
            raise ConfigError(
                f"There is no mask {sha256[:8]} of the image '{shortened(image)}'.",
                f"Send it first: PUT /reviews/{shortened(image)}/masks/{sha256}.",
            )
        if sha256_of(path) != sha256:
            raise ConfigError(
                f"The mask {sha256[:8]} of the image '{shortened(image)}' is damaged.",
                "Send it again, or put it back from a backup.",
            )
        return path

    def _folder_of(self, image: str, sha256: str) -> Path:
        if not re.fullmatch(SHA256.strip("^$"), sha256):
            raise ConfigError(f"'{shortened(sha256)}' is no SHA-256.", "Give 64 digits 0-9 and a-f.")
        return self._folder / checked_name(image, "image id")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(COPY_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def image_grid(source: Path) -> Grid:
    """The grid of an image file or DICOM folder, remembered until the file changes.

    Raises:
        ImageReadError: it cannot be read.
    """
    facts = source.stat() if source.exists() else None
    return _image_grid(source, 0 if facts is None else facts.st_mtime_ns, 0 if facts is None else facts.st_size)


@lru_cache(maxsize=256)
def _image_grid(source: Path, changed_ns: int, size: int) -> Grid:
    return read_grid(source)


@contextmanager
def _writing() -> Iterator[None]:
    """What goes wrong with the disk inside becomes an OutputError without the paths of this machine."""
    try:
        yield
    except (OSError, OutputError) as error:
        disk = error.__cause__ if isinstance(error, OutputError) else error
        reason = disk.strerror if isinstance(disk, OSError) else "the disk failed"
        raise OutputError(
            f"The mask cannot be kept: {reason}.", "Make room on the disk, or give the right to write."
        ) from error


def _copy(content: BinaryIO, target: Path) -> str:
    """Write the content to a file and return its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while chunk := content.read(COPY_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _suffix(mask: Path) -> str:
    """The suffix that fits a mask's content."""
    with mask.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head.startswith(NRRD_MAGIC):
        return ".nrrd"
    if head.startswith(GZIP_MAGIC):
        return ".nii.gz"
    if nifti_version(head):
        return ".nii"
    raise ImageReadError("The mask is neither NRRD nor NIfTI.", "Send one of these.")


def _check(mask: Path, image: str, grid: Grid) -> None:
    try:
        # By its header first: what does not fit is not unpacked.
        told = read_grid(mask)
        if grid.holds(told):
            told = read_label_map(mask).grid
    except ImageReadError as error:
        raise ImageReadError(error.cause.replace(str(mask), "The mask"), error.remedy) from error
    if not grid.holds(told):
        raise ImageReadError(
            f"The mask ({_size(told)}) does not lie on the grid of the image '{shortened(image)}' ({_size(grid)}).",
            "Export the segmentation with the image as its reference geometry.",
        )


def _size(grid: Grid) -> str:
    return " x ".join(str(length) for length in grid.shape[::-1]) + " voxels"
