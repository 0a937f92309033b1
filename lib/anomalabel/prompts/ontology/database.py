"""The hospital's own ontology: an SQLite file made of its UMLS release."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from anomalabel.prompts.ontology.concept import Concept
from anomalabel.prompts.ontology.problems import OntologyError
from anomalabel.prompts.ontology.spelling import asked_keys, folded

APPLICATION_ID = 0x414E4F4D
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE name (cui TEXT NOT NULL, text TEXT NOT NULL, grade INTEGER NOT NULL);
CREATE TABLE key (key TEXT NOT NULL, cui TEXT NOT NULL, grade INTEGER NOT NULL);
CREATE TABLE snomed_ct (cui TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL);
"""
INDEXES = """
CREATE INDEX name_of_cui ON name (cui);
CREATE INDEX cui_of_key ON key (key);
CREATE INDEX snomed_ct_of_cui ON snomed_ct (cui);
"""
PREFERRED, PLAIN, AWKWARD = range(3)
"""Grades of a name: the concept's own, another, and one that reads badly in a prompt ("Neoplasms, Breast")."""

MOST_SYNONYMS = 64


class OntologyDatabase:
    """Finds concepts in an SQLite file; opens it for each look-up, so that threads and processes may share it.

    Args:
        path: a file that `import_mrconso` wrote.

    Raises:
        OntologyError: it is missing, none of ours, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise OntologyError(
                f"There is no ontology {path}.", "Write one with: anomalabel ontology import MRCONSO.RRF"
            )
        try:
            with closing(self._connect()) as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise OntologyError(
                f"{path} is no ontology of this version of AnomaLabel.",
                "Write it anew with: anomalabel ontology import MRCONSO.RRF --force",
            )

    def find(self, term: str) -> tuple[Concept, ...]:
        """The concepts whose own name this is, or else all that have it as a synonym.

        Raises:
            OntologyError: the file cannot be read.
        """
        try:
            with closing(self._connect()) as connection:
                for key in asked_keys(term):
                    found = _concepts_of(connection, key)
                    if found:
                        return found
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return ()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)

    def _unreadable(self, error: sqlite3.Error) -> OntologyError:
        return OntologyError(
            f"The ontology {self._path} cannot be read: {error}.",
            "Write it anew with: anomalabel ontology import MRCONSO.RRF --force",
        )


def _concepts_of(connection: sqlite3.Connection, key: str) -> tuple[Concept, ...]:
    grades = connection.execute("SELECT cui, MIN(grade) FROM key WHERE key = ? GROUP BY cui ORDER BY cui", (key,))
    grade_of = dict(grades.fetchall())
    own = [cui for cui, grade in grade_of.items() if grade == PREFERRED]
    return tuple(_concept(connection, cui, key) for cui in own or grade_of)


def _concept(connection: sqlite3.Connection, cui: str, key: str) -> Concept:
    rows = connection.execute("SELECT text FROM name WHERE cui = ? ORDER BY grade, rowid", (cui,))
    names: dict[str, str] = {}
    for (text,) in rows:
        names.setdefault(folded(text), text)
        if len(names) > MOST_SYNONYMS:
            break
    preferred, *synonyms = names.values()
    return Concept(preferred, tuple(synonyms), snomed_ct=_snomed_ct(connection, cui, key), umls_cui=cui)


def _snomed_ct(connection: sqlite3.Connection, cui: str, key: str) -> str | None:
    """The code, where UMLS has one for the concept, or just one with the name that was asked for."""
    rows = connection.execute("SELECT code, text FROM snomed_ct WHERE cui = ?", (cui,)).fetchall()
    for codes in ({code for code, _ in rows}, {code for code, text in rows if folded(text) == key}):
        if len(codes) == 1:
            return codes.pop()
    return None
