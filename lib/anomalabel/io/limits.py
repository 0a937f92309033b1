"""Bounds on what a header may claim, checked before any memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import psutil

from anomalabel.errors import ImageReadError
from anomalabel.io.damage import parsing, truncated

MAXIMUM_PICTURE_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: a quarter of a GiB of 24-bit pixels."""

CHUNK_BYTES = 1 << 20
CONTROL_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CONTROL_GROUP_USE = Path("/sys/fs/cgroup/memory.current")
FLOAT32_BYTES = 4


def available_memory_bytes() -> int:
    """Memory this process can still take: what the machine has free, or less where a container sets a limit."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = int(CONTROL_GROUP_LIMIT.read_text()) - int(CONTROL_GROUP_USE.read_text())
    except (OSError, ValueError):
        return available
    return min(available, max(limit, 0))


def require_memory(voxels: int, bytes_per_voxel: int, source: Path) -> None:
    """Refuse an image whose stored voxels and float32 copy do not fit into memory together.

    Raises:
        ImageReadError: names the claimed and the available size.
    """
    needed = voxels * (bytes_per_voxel + FLOAT32_BYTES)
    available = available_memory_bytes()
    if needed > available:
        raise ImageReadError(
            f"{source} claims {voxels:,} voxels, which need {needed / 2**30:.1f} GiB; "
            f"{available / 2**30:.1f} GiB of memory are available.",
            "Check that the file is not damaged, or use a machine with more memory.",
        )


def require_file_bytes(needed: int, source: Path, offset: int = 0) -> None:
    """Refuse an uncompressed file that is shorter than its header claims.

    Raises:
        ImageReadError: names both sizes in bytes.
    """
    size = source.stat().st_size
    if size < offset + needed:
        raise truncated(source, f"its header claims {offset + needed:,} bytes and the file has {size:,}")


def read_exactly(stream: BinaryIO, count: int, source: Path) -> bytearray:
    """Read `count` bytes, or fail.

    Raises:
        ImageReadError: the stream ends early or, where it is compressed, is corrupt.
    """
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    with parsing(source):
        while filled < count:
            received = stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not received:
                raise truncated(source, f"its header claims {count:,} bytes and {filled:,} are there")
            filled += received
    return buffer


def read_to_end(stream: BinaryIO, source: Path) -> None:
    """Run a compressed stream to its end, so that its checksum and length are compared; what it holds is dropped.

    Raises:
        ImageReadError: the stream ends early or its checksum differs.
    """
    with parsing(source):
        while stream.read(CHUNK_BYTES):
            pass


def require_picture_size(width: int, height: int, source: Path) -> None:
    """Refuse a picture whose header claims more pixels than a picture has.

    Raises:
        ImageReadError: names the claimed size.
    """
    if width * height > MAXIMUM_PICTURE_PIXELS:
        raise ImageReadError(
            f"{source} claims {width} x {height} pixels; at most {MAXIMUM_PICTURE_PIXELS:,} are read.",
            "Cut out or shrink the part to look at.",
        )
    require_memory(width * height, 2 * FLOAT32_BYTES, source)
