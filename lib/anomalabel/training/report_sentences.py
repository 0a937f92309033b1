"""Sentences out of a CSV of reports: what a language adapter learns from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.errors import ConfigError

COLUMNS = ("report", "text")
"""Looked for in this order where no column is named."""

LONGEST_FIELD = 1 << 24
"""Characters of one CSV field; beyond it a quotation mark is missing rather than a report that long."""

BOUNDARY = re.compile(r"(?<=[.!?:;])\s+|\s*[\r\n]+\s*")
"""Ends of sentences and of headings such as "Impression:"; the stop in "2.5 cm" has no blank behind it."""

MARKS = re.compile(r"^[\s\-*•·]+|^\(?\d{1,2}[.)]\s+")
"""Bullets and numbers in front of a sentence."""

FEWEST_WORDS = 2
"""Headings and single words say too little to tell reports apart."""

FEWEST_SENTENCES = 2
"""A report of one sentence has no second one to be found."""


@dataclass(frozen=True)
class ReportSentences:
    """Which sentences stand in which report.

    Args:
        sentences: each once, in order of first appearance.
        reports: for each usable report, the indices of its sentences, each once, at least two.
        too_long: different sentences that were left out because the text tower cannot read them.
        repeated: reports that were left out because another one has the same sentences.
        short: reports that were left out because fewer than two sentences were left.
    """

    sentences: tuple[str, ...]
    reports: tuple[tuple[int, ...], ...]
    too_long: int
    repeated: int
    short: int


def read_reports(path: Path, column: str | None = None) -> list[str]:
    """The texts of one column of a CSV file with a header, UTF-8, comma-separated; blank ones are left out.

    Args:
        column: its name; None takes `report` or `text`, in small or capital letters.

    Raises:
        ConfigError: the file cannot be read, is no UTF-8 or no CSV, is empty, or has no such column.
    """
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            chosen = _choose_column(rows.fieldnames, column, path)
            texts = [(row[chosen] or "").strip() for row in rows]
    except OSError as error:
        raise ConfigError(f"The reports {path} cannot be read: {error.strerror}.", "Give a CSV file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The reports {path} are no UTF-8 text.", "Save the file as CSV in UTF-8.") from error
    except csv.Error as error:
        raise ConfigError(f"The reports {path} are no CSV: {error}.", "Save the file as CSV in UTF-8.") from error
    finally:
        csv.field_size_limit(before)
    return [text for text in texts if text]


def split_sentences(report: str) -> list[str]:
    """The sentences of a report in its order, without numbering, bullets and single words, blanks made one."""
    parts = (MARKS.sub("", " ".join(part.split())) for part in BOUNDARY.split(report))
    return [part for part in parts if sum(any(map(str.isalpha, word)) for word in part.split()) >= FEWEST_WORDS]


def gather_sentences(reports: Iterable[str], model: ImageTextModel) -> ReportSentences:
    """Split reports and keep what the model's text tower can read; upper and lower case count as the same sentence."""
    index: dict[str, int | None] = {}
    sentences: list[str] = []
    kept: dict[frozenset[int], tuple[int, ...]] = {}
    repeated = short = 0
    for report in reports:
        numbers: dict[int, None] = {}
        for sentence in split_sentences(report):
            key = sentence.casefold()
            if key not in index:
                readable = model.spare_tokens(sentence) >= 0
                index[key] = len(sentences) if readable else None
                if readable:
                    sentences.append(sentence)
            number = index[key]
            if number is not None:
                numbers[number] = None
        if len(numbers) < FEWEST_SENTENCES:
            short += 1
        elif frozenset(numbers) in kept:
            repeated += 1
        else:
            kept[frozenset(numbers)] = tuple(numbers)
    too_long = sum(number is None for number in index.values())
    return ReportSentences(tuple(sentences), tuple(kept.values()), too_long, repeated, short)


def _choose_column(names: Sequence[str] | None, column: str | None, path: Path) -> str:
    if not names:
        raise ConfigError(f"The reports {path} are empty.", "Give a CSV file with a header and one report a row.")
    if column is None:
        for wanted in COLUMNS:
            for name in names:
                if name.strip().lower() == wanted:
                    return name
    elif column in names:
        return column
    wanted = f"'{column}'" if column is not None else " or ".join(f"'{name}'" for name in COLUMNS)
    listed = ", ".join(f"'{name[:40]}'" for name in list(names)[:8])
    raise ConfigError(
        f"The reports {path} have no column {wanted}; the header has {listed}.",
        "Name the column with --column; columns are separated by commas.",
    )
