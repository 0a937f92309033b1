"""Which files of a folder are images, and what lies beside them: masks and boxes."""

from __future__ import annotations

import gzip
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.io.damage import parsing
from anomalabel.io.dicom_geometry import PROJECTION_MODALITIES, placement
from anomalabel.io.dicom_series import DicomFile, is_dicom, read_header
from anomalabel.io.nifti import GZIP_MAGIC, nifti_version
from anomalabel.io.nrrd import NRRD_MAGIC
from anomalabel.io.picture import PICTURE_MAGICS
from anomalabel.io.read import KNOWN_FORMATS, SNIFFED_BYTES

IMAGE_SUFFIXES = frozenset(
    {".dcm", ".dicom", ".hdr", ".ima", ".img", ".jpeg", ".jpg", ".nhdr", ".nii", ".nrrd", ".png", ".tif", ".tiff"}
    | {".bmp", ".gif", ".mha", ".mhd", ".webp"}
)
"""Names that promise an image; those that are not read are listed too, so that evaluating them says so."""

MASK_STEM = re.compile(r"(?P<of>.+)_mask(?:_\d+)?")
BOXES_SUFFIX = ".txt"


@dataclass(frozen=True)
class ListedImage:
    """An image as `read_volume` takes it (a folder for a DICOM series), and the files that say where its disease is."""

    image: Path
    mask: Path | None
    boxes: Path | None


def list_images(folder: Path) -> tuple[ListedImage, ...]:
    """All images below a folder, sorted by path; what begins with a dot is passed over.

    `NAME_mask.*` in any format that is read is the mask of `NAME.*` beside it, `NAME.txt` holds its boxes. The files of
    one DICOM series that form a stack are one image, the folder they lie in.

    Raises:
        ConfigError: no such folder, no image in it, a mask without an image, several masks of one image, or a DICOM
            stack that shares its folder with other DICOM images.
        ImageReadError: a file or folder may not be read. Damaged images are listed.
    """
    if not folder.is_dir():
        raise ConfigError(f"The folder {folder} does not exist.", "Check the path; a single image needs a folder too.")
    images: list[Path] = []
    masks: dict[Path, list[Path]] = defaultdict(list)
    passed_over = 0
    for parent, files in _folders_below(folder):
        readable = [path for path in files if _is_image(path)]
        passed_over += len(files) - len(readable)
        for path in _stacked(parent, readable):
            match = MASK_STEM.fullmatch(image_stem(path))
            if match:
                masks[path.parent / match["of"]].append(path)
            else:
                images.append(path)
    if not images:
        raise ConfigError(
            f"{folder} holds no image ({passed_over} other files).", f"Give a folder of images; {KNOWN_FORMATS}."
        )
    _require_owners(images, masks)
    return tuple(_with_truth(path, masks) for path in sorted(images))


def image_stem(path: Path) -> str:
    """The name without an image's suffix, `.nii.gz` whole; other dots stay, as in DICOM's names like 1.2.840.10008."""
    name = path.name[:-3] if path.name.lower().endswith(".nii.gz") else path.name
    bare = Path(name)
    return bare.stem if bare.suffix.lower() in IMAGE_SUFFIXES else bare.name


def _folders_below(folder: Path) -> list[tuple[Path, list[Path]]]:
    """Each folder with its files, hidden ones left out."""

    def fail(error: OSError) -> None:
        raise ImageReadError(
            f"{error.filename} cannot be read: {error.strerror}.", "Give this user the right to read it."
        )

    found = []
    for parent, names, files in os.walk(folder, onerror=fail, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found.append((Path(parent), [Path(parent, name) for name in sorted(files) if not name.startswith(".")]))
    return found


def _is_image(path: Path) -> bool:
    """Whether `read_volume` reads this file, or its name promises that: reading it then says what is wrong with it."""
    name = path.name.lower()
    if path.suffix.lower() in IMAGE_SUFFIXES or name.endswith(".nii.gz"):
        return not (path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file())
    head = _head(path)
    if head.startswith(GZIP_MAGIC) and name.endswith(".gz"):
        try:
            with parsing(path), gzip.open(path, "rb") as stream:
                return nifti_version(stream.read(SNIFFED_BYTES)) is not None
        except ImageReadError:
            return False
    return (
        head.startswith((NRRD_MAGIC, *PICTURE_MAGICS)) or is_dicom(head, path.suffix) or nifti_version(head) is not None
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(SNIFFED_BYTES)
    except OSError as error:
        raise ImageReadError(
            f"{path} cannot be read: {error.strerror}.", "Give this user the right to read it."
        ) from error


def _stacked(parent: Path, files: list[Path]) -> list[Path]:
    """The files, or their folder in place of DICOM slices that form one stack; DICOM without pixels is left out."""
    others: list[Path] = []
    series: dict[str, list[DicomFile]] = defaultdict(list)
    for path in files:
        if not is_dicom(_head(path), path.suffix):
            others.append(path)
            continue
        try:
            header = read_header(path)
        except ImageReadError:
            others.append(path)
            continue
        if "Rows" in header:
            series[str(header.get("SeriesInstanceUID", ""))].append(DicomFile(path, header))
    if not any(_is_stack(members) for members in series.values()):
        return others + [file.path for members in series.values() for file in members]
    if len(series) > 1:
        raise ConfigError(
            f"{parent} holds {len(series)} DICOM series, of which some are stacks of slices.",
            "Put each series into a folder of its own.",
        )
    return [*others, parent]


def _is_stack(members: list[DicomFile]) -> bool:
    """Whether slices of one series lie in space; projections of one visit share a series too and are images each."""
    return len(members) > 1 and all(
        str(file.header.get("Modality", "")) not in PROJECTION_MODALITIES
        and placement([file.header], file.path.name) is not None
        for file in members
    )


def _require_owners(images: list[Path], masks: dict[Path, list[Path]]) -> None:
    owners = {path.parent / image_stem(path) for path in images}
    for owner, found in masks.items():
        if owner not in owners:
            raise ConfigError(
                f"{found[0]} is called a mask, and no image {owner.name} lies beside it.",
                "Put the image beside its mask, or give the file another name.",
            )
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ConfigError(
                f"{owner} has {len(found)} masks: {names}.", f"Save their union as one {owner.name}_mask.png."
            )


def _with_truth(path: Path, masks: dict[Path, list[Path]]) -> ListedImage:
    stem = path.parent / image_stem(path)
    boxes = stem.with_name(stem.name + BOXES_SUFFIX)
    return ListedImage(path, masks[stem][0] if stem in masks else None, boxes if boxes.is_file() else None)
