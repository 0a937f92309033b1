"""Reads MRCONSO.RRF, the names of a UMLS release: one line for each, columns set apart by "|"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anomalabel.prompts.ontology.problems import OntologyError

COLUMNS = (
    *("CUI", "LAT", "TS", "LUI", "STT", "SUI", "ISPREF", "AUI", "SAUI", "SCUI", "SDUI"),
    *("SAB", "TTY", "CODE", "STR", "SRL", "SUPPRESS", "CVF"),
)
AT = {name: number for number, name in enumerate(COLUMNS)}
SNOMED_CT = "SNOMEDCT_US"
NOT_SUPPRESSED = "N"
LONGEST_LINE = 1 << 20
"""Bytes; a file without line ends would else be read whole."""

BYTES_BETWEEN_REPORTS = 1 << 20
REMEDY = "Name the file MRCONSO.RRF of a UMLS release, unpacked (META/MRCONSO.RRF)."

Progress = Callable[[int, int], None]
"""Called with bytes read and bytes in all; may raise Cancelled."""


@dataclass(frozen=True)
class NameRow:
    """One name of one concept.

    Attributes:
        cui: the concept, C and seven digits.
        text: the name.
        preferred: whether UMLS prefers it among all names of the concept in this language.
        snomed_ct: the code where the name comes from SNOMED CT, else None.
    """

    cui: str
    text: str
    preferred: bool
    snomed_ct: str | None


def read_mrconso(source: Path, language: str, progress: Progress) -> Iterator[NameRow]:
    """The names of one language that are not suppressed, in the order of the file, line by line.

    Raises:
        OntologyError: it cannot be read, or a line is not UTF-8 or has another number of columns; the line is named.
    """
    try:
        stream = source.open("rb")
        total = source.stat().st_size
    except OSError as error:
        raise OntologyError(f"{source} cannot be read: {error.strerror}.", REMEDY) from error
    with stream:
        done = reported = 0
        for number, line in enumerate(_lines(stream, source), start=1):
            done += len(line)
            if done - reported >= BYTES_BETWEEN_REPORTS:
                reported = done
                progress(done, total)
            values = _values(line, number, source)
            if values[AT["LAT"]] == language and values[AT["SUPPRESS"]] == NOT_SUPPRESSED:
                yield _row(values)
        progress(done, total)


def _lines(stream: BinaryIO, source: Path) -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(LONGEST_LINE)
        except OSError as error:
            raise OntologyError(f"{source} cannot be read: {error.strerror}.", REMEDY) from error
        if not line:
            return
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise OntologyError(f"Line {number} of {source} is longer than a name can be.", REMEDY)
        yield line


def _values(line: bytes, number: int, source: Path) -> list[str]:
    try:
        values = line.decode("utf-8").rstrip("\r\n").split("|")
    except UnicodeDecodeError as error:
        raise OntologyError(f"Line {number} of {source} is not UTF-8.", REMEDY) from error
    # Each column ends with "|", so that the split leaves an empty one behind the last.
    if len(values) != len(COLUMNS) + 1 or values[-1]:
        raise OntologyError(
            f"Line {number} of {source} has not the {len(COLUMNS)} columns of MRCONSO.RRF.",
            REMEDY,
        )
    return values


def _row(values: list[str]) -> NameRow:
    preferred = (values[AT["TS"]], values[AT["STT"]], values[AT["ISPREF"]]) == ("P", "PF", "Y")
    code = values[AT["CODE"]] if values[AT["SAB"]] == SNOMED_CT else None
    return NameRow(values[AT["CUI"]], values[AT["STR"]], preferred, code)
