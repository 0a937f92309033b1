"""One thing that several vocabularies name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Concept:
    """What a term means, with its identifiers; None where the identifier is not known.

    Attributes:
        preferred: the name to show.
        synonyms: other names, the commonest first, without `preferred`.
        snomed_ct: SNOMED CT identifier, digits.
        radlex: RadLex identifier, RID and digits.
        umls_cui: UMLS concept unique identifier, C and seven digits.
    """

    preferred: str
    synonyms: tuple[str, ...] = ()
    snomed_ct: str | None = None
    radlex: str | None = None
    umls_cui: str | None = None


class ConceptSource(Protocol):
    """Where concepts are found."""

    def find(self, term: str) -> tuple[Concept, ...]:
        """All concepts that have this name, best first; more than one where the name is ambiguous."""
        ...
