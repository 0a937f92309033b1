"""One process at a time in a folder, on each system that Slicer runs on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None
    import msvcrt

LOCK_NAME = ".lock"
PAUSE_S = 0.005


@contextmanager
def folder_lock(folder: Path, patience_s: float) -> Iterator[None]:
    """Hold the lock of a folder; a process that ends, however it ends, lets go of it.

    Raises:
        TimeoutError: another process holds it for longer than `patience_s`.
        OSError: the lock's file cannot be made.
    """
    deadline = time.monotonic() + patience_s
    with (folder / LOCK_NAME).open("a+b") as file:
        while not _take(file.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{LOCK_NAME} is held by another process")
            time.sleep(PAUSE_S)
        try:
            yield
        finally:
            _let_go(file.fileno())


def _take(descriptor: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _let_go(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    else:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
