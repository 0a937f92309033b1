"""Loads a hospital's licensed UMLS release into SQLite: `anomalabel ontology import MRCONSO.RRF`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from uuid import uuid4

from anomalabel.errors import OutputError
from anomalabel.prompts.ontology.database import (
    APPLICATION_ID,
    AWKWARD,
    INDEXES,
    PLAIN,
    PREFERRED,
    SCHEMA,
    SCHEMA_VERSION,
)
from anomalabel.prompts.ontology.mrconso import NameRow, Progress, read_mrconso
from anomalabel.prompts.ontology.problems import OntologyError
from anomalabel.prompts.ontology.spelling import stored_keys

ENGLISH = "ENG"
CACHE_KIB = 65536
AWKWARD_LETTERS = frozenset(",;()[]{}<>/")
LONGEST_NATURAL_NAME = 60
"""Characters; longer names are sentences."""


@dataclass(frozen=True)
class ImportedOntology:
    """What an import wrote."""

    path: Path
    concepts: int
    names: int


def import_mrconso(
    source: Path, out: Path, progress: Progress, language: str = ENGLISH, force: bool = False
) -> ImportedOntology:
    """Write the names of one language of a UMLS release, with their SNOMED CT codes, as an SQLite file.

    The file appears under its name only when it is whole; the release is read once and never held in memory.

    Args:
        source: MRCONSO.RRF; suppressed rows are left out.
        out: the file to write, see `ontology_path` for where it is found.
        progress: called with bytes read and bytes in all; what it raises (`Cancelled`) stops the work.
        language: LAT of the release, such as ENG, GER, SPA.
        force: replace a file that is there.

    Raises:
        OntologyError: the release cannot be read, is no MRCONSO.RRF in UTF-8, or has no name in this language.
        OutputError: there is a file already, or it cannot be written, say because the disk is full.
    """
    if out.exists() and not force:
        raise OutputError(f"There is an ontology {out} already.", "Give --force to replace it, or another --out.")
    unfinished = out.with_name(f".{out.name}.{uuid4().hex}.unfinished")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        concepts, names = _write(unfinished, read_mrconso(source, language, progress))
        if concepts == 0:
            raise OntologyError(f"{source} has no name in the language {language}.", "Name another with --language.")
        _flush(unfinished)
        unfinished.replace(out)
    except sqlite3.Error as error:
        raise _unwritable(out, str(error)) from error
    except OSError as error:
        raise _unwritable(out, error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return ImportedOntology(out, concepts, names)


def _unwritable(out: Path, reason: str) -> OutputError:
    return OutputError(f"The ontology {out} cannot be written: {reason}.", "Make room, or give another --out.")


def _write(path: Path, rows: Iterable[NameRow]) -> tuple[int, int]:
    """Concepts and names written."""
    concepts = names = 0
    with closing(_connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("BEGIN")
        for cui, of_concept in groupby(rows, key=lambda row: row.cui):
            names += _write_concept(connection, cui, of_concept)
            concepts += 1
        connection.execute("COMMIT")
        connection.executescript(INDEXES)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return concepts, names


def _connect(path: Path) -> sqlite3.Connection:
    """Without a journal: a half-written file is thrown away whole."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}", "temp_store = FILE"):
        connection.execute(f"PRAGMA {setting}")
    return connection


def _write_concept(connection: sqlite3.Connection, cui: str, rows: Iterable[NameRow]) -> int:
    """The distinct names of one concept, its keys and its SNOMED CT codes; returns how many names."""
    grade_of_name: dict[str, int] = {}
    grade_of_key: dict[str, int] = {}
    codes: dict[tuple[str, str], None] = {}
    for row in rows:
        grade = _grade(row)
        grade_of_name[row.text] = min(grade, grade_of_name.get(row.text, grade))
        for key in stored_keys(row.text):
            grade_of_key[key] = min(grade, grade_of_key.get(key, grade))
        if row.snomed_ct is not None:
            codes[row.snomed_ct, row.text] = None
    connection.executemany("INSERT INTO name VALUES (?, ?, ?)", _lines(cui, grade_of_name.items()))
    connection.executemany("INSERT INTO key (cui, key, grade) VALUES (?, ?, ?)", _lines(cui, grade_of_key.items()))
    connection.executemany("INSERT INTO snomed_ct VALUES (?, ?, ?)", _lines(cui, codes))
    return len(grade_of_name)


def _lines(cui: str, values: Iterable[tuple[object, object]]) -> Iterator[tuple[object, ...]]:
    return ((cui, *pair) for pair in values)


def _grade(row: NameRow) -> int:
    if row.preferred:
        return PREFERRED
    awkward = len(row.text) > LONGEST_NATURAL_NAME or not AWKWARD_LETTERS.isdisjoint(row.text)
    return AWKWARD if awkward else PLAIN


def _flush(path: Path) -> None:
    """To the disk, so that the name never stands for an empty file after a power cut."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
