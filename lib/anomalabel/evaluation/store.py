"""Finished results on disk, so that an evaluation that was interrupted goes on where it stopped.

One SQLite file holds every finished result under a hash of all that decides it. A transaction is written whole or not
at all, so no interruption leaves a broken entry; a changed setting, image, weight or line of code leads to another
hash, so nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anomalabel
from anomalabel.errors import ImageReadError, OutputError
from anomalabel.evaluation.records import RecordError, from_bytes, to_bytes

FOLDER = "work"
FILE = "results.sqlite"
WAIT_SECONDS = 5.0
HASH_BLOCK = 1 << 20
UNDECIDING_PARTS = frozenset({"cli", "demo", "report"})
"""Parts of the package whose code changes no result."""


class ResultStore:
    """Records under keys; made by `open_store`.

    Args:
        connection: to the database.
        kinds: every dataclass that may be in a record.
        path: for messages.
    """

    def __init__(self, connection: sqlite3.Connection, kinds: tuple[type, ...], path: Path) -> None:
        self._connection = connection
        self._kinds = kinds
        self.path = path

    def __contains__(self, key: str) -> bool:
        with self._speaking():
            return self._connection.execute("SELECT 1 FROM results WHERE key = ?", (key,)).fetchone() is not None

    def get(self, key: str) -> Any | None:
        """The record under a key, None where there is none or what lies there is no record."""
        with self._speaking():
            row = self._connection.execute("SELECT content FROM results WHERE key = ?", (key,)).fetchone()
        try:
            return None if row is None else from_bytes(row[0], self._kinds)
        except RecordError:
            self._forget(key)
            return None

    def put(self, records: Mapping[str, Any]) -> None:
        """Write records, all or none of them.

        Raises:
            OutputError: the disk is full, or another process holds the file.
        """
        rows = [(key, to_bytes(record)) for key, record in records.items()]
        with self._speaking(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", rows)

    def _forget(self, key: str) -> None:
        with self._speaking(), self._connection:
            self._connection.execute("DELETE FROM results WHERE key = ?", (key,))

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error


@contextmanager
def open_store(out: Path, kinds: tuple[type, ...]) -> Iterator[ResultStore]:
    """The results kept in `out`/work, made where there are none.

    Args:
        out: folder of the evaluation.
        kinds: every dataclass that may be in a record.

    Raises:
        OutputError: the folder cannot be made, or the file is no store of results.
    """
    path = out / FOLDER / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, content BLOB NOT NULL)")
        yield ResultStore(connection, kinds, path)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    finally:
        connection.close()


def key_of(parts: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of plain values, the same in whatever order they are given.

    Raises:
        TypeError: a value is not plain JSON.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_of_files(*paths: Path | None) -> str:
    """Hexadecimal SHA-256 of the contents of files, and of all files in folders, in the order given; None is nothing.

    Raises:
        ImageReadError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        if path is None:
            digest.update(b"none\0")
            continue
        try:
            files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
            for file in files:
                digest.update(f"{file.stat().st_size}\0".encode())
                with file.open("rb") as stream:
                    while block := stream.read(HASH_BLOCK):
                        digest.update(block)
        except OSError as error:
            raise ImageReadError(
                f"{path} cannot be read: {error.strerror}.", "Check that it is there and readable."
            ) from error
    return digest.hexdigest()


@cache
def code_version() -> str:
    """Version of the package and of PyTorch, with a hash of all source files that decide a result."""
    root = Path(anomalabel.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        steps = path.relative_to(root).with_suffix("").parts
        if not UNDECIDING_PARTS.intersection(steps):
            digest.update("/".join(steps).encode() + b"\0" + path.read_bytes())
    return f"{anomalabel.__version__} {digest.hexdigest()} torch {version('torch')}"


def _unusable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"The finished results in {path} cannot be used: {error}.",
        "Check the space on the disk and that no other evaluation writes there, or delete the file to start anew.",
    )
