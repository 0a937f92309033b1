"""One training at a time for a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from anomalabel.errors import OutputError
from anomalabel.model_folder.whole_files import unwritable

LOCK_FILE = ".training.lock"
"""Stays in the folder: removing a lock that somebody else may be waiting for lets both in."""


@contextmanager
def training_lock(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a model folder; of several processes that train together one holds it for all.

    The operating system holds the lock and releases it when the process ends, however it ends. The folder is made where
    it is missing, and removed again at the end if nothing came of it.

    Raises:
        OutputError: another training holds it (said at once), or the folder cannot be written.
    """
    made = not folder.exists()
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"Another training is at work in {folder}.", "Wait for its end, stop it, or choose another folder."
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        if made:
            _remove_if_nothing_came(folder)
        lock.release()


def _remove_if_nothing_came(folder: Path) -> None:
    # Still locked: whoever waits for this file finds that it is no longer there.
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()
