"""What an image's files hold, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from anomalabel.errors import ImageReadError

BLOCK = 1 << 20


def content_sha256(image: Path) -> str:
    """Hexadecimal SHA-256 of an image: of its file; or, where it has several (a DICOM folder, a pair of .hdr and .img),
    of their hashes in ascending order.

    Raises:
        ImageReadError: one cannot be read.
    """
    try:
        hashes = sorted(file_sha256(path) for path in _files(image))
    except OSError as error:
        raise ImageReadError(
            f"{image} cannot be read: {error.strerror or error}.", "Check that it is there and readable."
        ) from error
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _files(image: Path) -> list[Path]:
    if image.is_dir():
        return [path for path in image.rglob("*") if path.is_file()]
    pair = [image.with_suffix(suffix) for suffix in (".hdr", ".img")]
    return pair if image in pair and all(path.is_file() for path in pair) else [image]


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
