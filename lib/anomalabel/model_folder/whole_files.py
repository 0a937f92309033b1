"""Files that are there whole or not at all, whatever ends the writing: an error, a full disk, a loss of power."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anomalabel.errors import OutputError

STAGE_PREFIX = ".writing-"
ABANDONED_SECONDS = 3600.0
"""A stage of this age belongs to a process that was killed: the longest writing takes minutes."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, no quota, or larger than the file system or this process may write."""


@contextmanager
def stage(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, in which files are written before they are moved into place; removed at the end.

    It lies inside and not beside, so that both are on one file system where `folder` is a mounted volume. `folder` is
    made where it is missing, and removed again if the writing fails and leaves it empty.

    Raises:
        OutputError: an OSError came up here or in the body; a full disk is named as such.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix=STAGE_PREFIX, dir=folder) as name:
            yield Path(name)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if made:
            # Not empty after success, and then it stays.
            with suppress(OSError):
                folder.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Write or replace one file in one step.

    Raises:
        OutputError: it cannot be written; what was there before is untouched.
    """
    with stage(path.parent) as staged:
        write_synced(staged / path.name, content)
        (staged / path.name).replace(path)
        sync(path.parent)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk: some file systems notice only then that they are full."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Network shares refuse to sync folders, not files.
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a folder or file that the system refuses to write."""
    if error.errno in FULL:
        return OutputError(
            f"{path} cannot be written: the disk or its quota is full ({error.strerror or error}).",
            "Free space or choose another folder and start again; what was there before is untouched.",
        )
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}.", "Choose a folder that is there and writable."
    )


def _remove_abandoned(folder: Path) -> None:
    for left in folder.glob(f"{STAGE_PREFIX}*"):
        # Another process may be removing it too.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left)
