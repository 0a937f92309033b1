"""Which healthy images a model learns from: each once, readable, not called abnormal, and all of one kind."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.io.content import content_sha256
from anomalabel.io.listing import BOXES_SUFFIX, MASK_STEM, image_stem, list_images
from anomalabel.io.mask import read_mask
from anomalabel.io.read import read_volume
from anomalabel.learning.odd_ones import ImageFacts, OddReport, odd_ones

COMPARED = 8
"""Images among which odd ones are looked for, as far as there are so many: among fewer shots one is missed easily."""

NAMED = 5
"""Left-out images that an error names."""

BOX_LINE = re.compile(r"\s*\d+(\s+[-+.\deE]+){4}\s*")

Look = Callable[[Sequence[Path]], tuple[NDArray[np.floating], Sequence[ImageFacts]]]
"""Feature vectors (n, D) and facts of n images."""


@dataclass(frozen=True)
class HealthyFile:
    """An image and the hash of what its files hold."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class LeftOut:
    """An image that is not learned from, and why, as a part of a sentence."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


@dataclass(frozen=True)
class HealthySet:
    """The images of a training.

    Args:
        images: learned from, in the order they were drawn.
        left_out: in the order they were met.
        spare: images that come next in the order of the draw; they were not read.
    """

    images: tuple[HealthyFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    spare: tuple[HealthyFile, ...] = ()

    @property
    def chosen(self) -> tuple[Path, ...]:
        """Where the images lie."""
        return tuple(image.path for image in self.images)


def list_healthy(folder: Path) -> tuple[Path, ...]:
    """The images below a folder of healthy ones, as `read_volume` takes them, sorted.

    Masks are none, and the slices of a DICOM series are one image, the folder they lie in.

    Raises:
        ConfigError, ImageReadError: see `io.listing.list_images`.
    """
    return tuple(listed.image for listed in list_images(folder))


def choose_healthy(
    paths: Sequence[Path],
    shots: int,
    seed: int,
    abnormal: frozenset[str] = frozenset(),
    read: Callable[[Path], object] = read_volume,
    progress: Callable[[int, int], None] | None = None,
) -> HealthySet:
    """Draw the shots of a training.

    Images are put in the order of a hash of seed and content: the same images give the same shots, whatever they are
    called and in whatever order they come, and the first 4 shots are among the first 8. Files are read in this order
    until there are enough.

    Args:
        paths: images.
        shots: how many are wanted, at least 1.
        seed: any integer.
        abnormal: names of images that reviews call abnormal: file names with or without suffix, or whole paths. Copies
            of such an image are left out too, whatever they are called, and so is an image beside whose file a mask
            or boxes mark disease.
        read: reads an image as far as it must succeed; what fails with an `ImageReadError` is left out.
        progress: called with images hashed and in all.

    Raises:
        ConfigError: fewer images than shots are left, or shots is below 1.
    """
    if shots < 1:
        raise ConfigError(f"{shots} shots cannot be learned from.", "Ask for at least 1.")
    ranked, left_out = _ranked(paths, seed, abnormal, progress)
    return _filled(HealthySet((), tuple(left_out), tuple(ranked)), shots, shots, read)


def without_odd_ones(
    healthy: HealthySet, look: Look, read: Callable[[Path], object] = read_volume
) -> tuple[HealthySet, OddReport]:
    """Leave out the images that are unlike the rest, and draw others in their place.

    Args:
        healthy: of `choose_healthy`; its number of shots is kept.
        look: at the shots and, where these are fewer than `COMPARED`, at some spare ones; called again after images
            were replaced, so it should remember what it saw.
        read: as `choose_healthy`.

    Returns:
        The set without odd ones, and the report of its last comparison.

    Raises:
        ConfigError: too few images are left, or two kinds of image are equally common.
    """
    shots = len(healthy.images)
    while True:
        compared = _filled(healthy, shots, max(shots, COMPARED), read)
        report = odd_ones(*look(compared.chosen))
        if not report.odd:
            kept, spare = compared.images[:shots], compared.images[shots:] + compared.spare
            return replace(compared, images=kept, spare=spare), report
        told = tuple(LeftOut(compared.images[one.number].path, one.reason) for one in report.odd)
        kept = tuple(image for number, image in enumerate(compared.images) if number not in report.numbers)
        healthy = replace(compared, images=kept, left_out=compared.left_out + told)


def every_healthy(
    paths: Sequence[Path],
    fewest: int,
    seed: int,
    abnormal: frozenset[str],
    read: Callable[[Path], object],
    look: Look,
    progress: Callable[[int, int], None],
) -> tuple[HealthySet, OddReport]:
    """All images that may be learned from, in the order in which `choose_healthy` would draw them.

    Unlike the rest is who is so among all; that is asked once, since there is always an outermost one.

    Args: see `choose_healthy` and `without_odd_ones`.
        fewest: that must be left, at least 1.

    Raises:
        ConfigError: fewer are left, which says why, or two kinds of image are equally common.
    """
    ranked, left_out = _ranked(paths, seed, abnormal, progress)
    usable = _filled(HealthySet((), tuple(left_out), tuple(ranked)), 0, len(ranked), read)
    if len(usable.images) < fewest:
        raise _too_few_of_all(len(usable.images), fewest, usable.left_out)
    report = odd_ones(*look(usable.chosen))
    kept = tuple(image for number, image in enumerate(usable.images) if number not in report.numbers)
    told = tuple(LeftOut(usable.images[one.number].path, one.reason) for one in report.odd)
    if len(kept) < fewest:
        raise _too_few_of_all(len(kept), fewest, usable.left_out + told)
    return HealthySet(kept, usable.left_out + told), report


def _ranked(
    paths: Sequence[Path], seed: int, abnormal: frozenset[str], progress: Callable[[int, int], None] | None
) -> tuple[list[HealthyFile], list[LeftOut]]:
    """The images to draw from in order, and those that are out before any is read."""
    known: dict[str, list[Path]] = {}
    left_out = []
    for number, path in enumerate(sorted(paths)):
        if progress is not None:
            progress(number, len(paths))
        try:
            known.setdefault(content_sha256(path), []).append(path)
        except ImageReadError as error:
            left_out.append(LeftOut(path, error.cause))
    files = []
    for sha256, (first, *copies) in known.items():
        named = [path for path in (first, *copies) if is_named(path, abnormal)]
        if named:
            left_out.append(LeftOut(named[0], "it is named as abnormal"))
            others = (path for path in (first, *copies) if path != named[0])
            left_out += [
                LeftOut(path, f"it is a copy of {named[0].name}, which is named as abnormal") for path in others
            ]
            continue
        left_out += [LeftOut(copy, f"it is the same image as {first.name}") for copy in copies]
        files.append(HealthyFile(first, sha256))
    if progress is not None:
        progress(len(paths), len(paths))
    return sorted(files, key=lambda file: hashlib.sha256(f"{seed}\n{file.sha256}".encode()).digest()), left_out


def _filled(healthy: HealthySet, shots: int, wanted: int, read: Callable[[Path], object]) -> HealthySet:
    """The set with spare images added until there are `wanted`.

    Raises:
        ConfigError: there are not even `shots`.
    """
    images, left_out, spare = list(healthy.images), list(healthy.left_out), list(healthy.spare)
    while spare and len(images) < wanted:
        file = spare.pop(0)
        reason = _unusable(file.path, read)
        if reason is None:
            images.append(file)
        else:
            left_out.append(LeftOut(file.path, reason))
    if len(images) < shots:
        raise _too_few(len(images), shots, left_out)
    return HealthySet(tuple(images), tuple(left_out), tuple(spare))


def _unusable(path: Path, read: Callable[[Path], object]) -> str | None:
    """Why an image cannot be learned from; None where it can."""
    try:
        for mask in _masks_beside(path):
            if read_mask(mask).any():
                return f"its mask {mask.name} marks disease"
        if _holds_boxes(path.with_name(image_stem(path) + BOXES_SUFFIX)):
            return f"its boxes {image_stem(path)}{BOXES_SUFFIX} mark disease"
        read(path)
    except ImageReadError as error:
        return error.cause
    return None


def _masks_beside(path: Path) -> Iterator[Path]:
    stem = image_stem(path)
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}_mask*")):
        match = MASK_STEM.fullmatch(image_stem(other))
        if match is not None and match["of"] == stem:
            yield other


def _holds_boxes(path: Path) -> bool:
    """Whether a text beside an image is one of boxes: reports of healthy images lie beside them under the same name."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return False
    return bool(lines) and all(BOX_LINE.fullmatch(line) for line in lines)


def is_named(path: Path, names: frozenset[str]) -> bool:
    """Whether one of the names is an image's: its file name with or without suffix, or its whole path."""
    return not names.isdisjoint({str(path), path.name, image_stem(path)})


def _too_few(count: int, shots: int, left_out: Sequence[LeftOut]) -> ConfigError:
    # One is nothing to learn from and be judged by.
    ask = f"Ask for at most {count} shots, or give" if count > 1 else "Give"
    return ConfigError(_cause(count, f"{shots} shots are wanted", left_out), f"{ask} more healthy images.")


def _too_few_of_all(count: int, fewest: int, left_out: Sequence[LeftOut]) -> ConfigError:
    return ConfigError(_cause(count, f"at least {fewest} are needed", left_out), "Give more healthy images.")


def _cause(count: int, needed: str, left_out: Sequence[LeftOut]) -> str:
    cause = f"{count} healthy {'image' if count == 1 else 'images'} can be learned from, and {needed}."
    if left_out:
        named = "; ".join(str(one).rstrip(".") for one in left_out[:NAMED])
        more = f"; and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        cause += f" Left out: {named}{more}."
    return cause
