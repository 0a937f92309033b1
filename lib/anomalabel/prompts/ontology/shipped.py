"""The small table that comes with the package."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from anomalabel.prompts.ontology.concept import Concept
from anomalabel.prompts.ontology.spelling import asked_keys, stored_keys

TABLE = "concepts.csv"
COLUMNS = ("preferred", "synonyms", "snomed_ct", "radlex", "umls_cui", "source")
SEPARATOR = "|"


@dataclass(frozen=True)
class ShippedRow:
    """One row: the concept, and for each of its identifiers what confirmed it ("snomed_ct=pydicom ...")."""

    concept: Concept
    source: dict[str, str]


@cache
def shipped_rows() -> tuple[ShippedRow, ...]:
    """All rows of the table, in its order."""
    text = (files(__package__) / TABLE).read_text(encoding="utf-8")
    return tuple(_row(values) for values in csv.DictReader(text.splitlines()))


class ShippedTable:
    """Finds concepts in the table."""

    def __init__(self, concepts: tuple[Concept, ...]) -> None:
        self._of_key: dict[str, list[Concept]] = defaultdict(list)
        for concept in concepts:
            keys = {key for name in (concept.preferred, *concept.synonyms) for key in stored_keys(name)}
            for key in keys:
                self._of_key[key].append(concept)

    def find(self, term: str) -> tuple[Concept, ...]:
        for key in asked_keys(term):
            if key in self._of_key:
                return tuple(self._of_key[key])
        return ()


def _row(values: dict[str, str]) -> ShippedRow:
    concept = Concept(
        preferred=values["preferred"],
        synonyms=tuple(name for name in values["synonyms"].split(SEPARATOR) if name),
        snomed_ct=values["snomed_ct"] or None,
        radlex=values["radlex"] or None,
        umls_cui=values["umls_cui"] or None,
    )
    confirmed = (part.partition("=") for part in values["source"].split())
    return ShippedRow(concept, {identifier: by for identifier, _, by in confirmed})
