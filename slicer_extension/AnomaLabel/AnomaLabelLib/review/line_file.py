"""A file of lines that only grows, is never half written, and may be replaced by a shorter one as a whole."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

HEADER = b"anomalabel-lines/1 "
TORN_SUFFIX = ".torn"


class LineFile:
    """Lines of bytes; every method but `is_unchanged` is for whoever holds the folder's lock.

    The first line names the generation, by which other processes see that the file was replaced.

    Args:
        path: of the file; its folder exists when a line is appended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = b""
        self._offset = 0
        self._stamp: tuple[int, ...] | None = None

    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def is_unchanged(self) -> bool:
        """Whether nobody has changed the file since it was last read or appended to."""
        return self._stamp == self._stamp_now()

    def read(self) -> tuple[bool, list[bytes]]:
        """Whether the lines are those from the start on, and the lines that were not read yet, without line ends.

        What a crash left of an unfinished last line is moved to a file beside it.
        """
        rest = self._rest()
        from_start = rest is None
        content = self._all() if rest is None else rest
        start = 0 if from_start else self._offset
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._set_aside(content[whole:], start + whole)
        lines = content[:whole].split(b"\n")[:-1]
        self._offset = start + whole
        if from_start:
            self._generation = lines[0] if lines else b""
            lines = lines[1:] if self._generation.startswith(HEADER) else lines
        self._stamp = self._stamp_now()
        return from_start, lines

    def append(self, line: bytes, synced: bool = True) -> None:
        """Add a line in one write; where that fails the file is cut back. Read the file before.

        Args:
            line: without its end.
            synced: return only once it is on the disk itself.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        if self._offset == 0:
            self.replace([])
        # Unbuffered: a buffer would try to write its rest again while the file is cut back.
        with self._path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                if file.write(line + b"\n") <= len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if synced:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
            self._offset = before + len(line) + 1
        self._stamp = self._stamp_now()

    def replace(self, lines: Iterable[bytes]) -> None:
        """Put other lines in the place of all; a crash leaves either these or those.

        Raises:
            OSError: they cannot be written; the file is as it was.
        """
        generation = HEADER + uuid.uuid4().hex.encode()
        content = b"".join(line + b"\n" for line in (generation, *lines))
        write_whole(self._path, content)
        self._generation, self._offset, self._stamp = generation, len(content), self._stamp_now()

    def _all(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""

    def _rest(self) -> bytes | None:
        """What follows the last line read, None where nothing was read or that is no more the same file."""
        if self._offset == 0 or not self._path.exists():
            return None
        with self._path.open("rb") as file:
            generation = file.readline().rstrip(b"\n")
            if generation != self._generation or file.seek(0, os.SEEK_END) < self._offset:
                return None
            file.seek(self._offset)
            return file.read()

    def _set_aside(self, torn: bytes, place: int) -> None:
        # Nobody was told that it is kept, so that a full disk need not keep anybody from the rest.
        with contextlib.suppress(OSError), self._path.with_name(self._path.name + TORN_SUFFIX).open("ab") as aside:
            aside.write(torn + b"\n")
        with self._path.open("r+b") as file:
            file.truncate(place)

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            told = self._path.stat()
        except FileNotFoundError:
            return ()
        return told.st_size, told.st_mtime_ns, told.st_ino


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, never a part.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A new file's name is on the disk once its folder is; Windows does that by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
