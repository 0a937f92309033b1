"""The ontologies that are asked: the hospital's own first, then the table that ships."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from anomalabel.prompts.ontology.concept import Concept, ConceptSource
from anomalabel.prompts.ontology.database import OntologyDatabase
from anomalabel.prompts.ontology.location import ONTOLOGY_VARIABLE, ontology_path
from anomalabel.prompts.ontology.problems import OntologyError
from anomalabel.prompts.ontology.shipped import ShippedTable, shipped_rows
from anomalabel.prompts.ontology.spelling import folded


class Ontology:
    """Looks terms up in one or several sources, the first that knows a term wins.

    Args:
        sources: in the order in which they are asked.
        names: how to call each of them to a user.
    """

    def __init__(self, sources: tuple[ConceptSource, ...], names: tuple[str, ...]) -> None:
        self._sources = sources
        self.names = names

    @classmethod
    def shipped(cls) -> Ontology:
        """The small table that comes with the package."""
        return cls((ShippedTable(tuple(row.concept for row in shipped_rows())),), ("the table that ships",))

    @classmethod
    def open(cls, path: Path) -> Ontology:
        """A hospital's own UMLS release, from the file that `import_mrconso` wrote.

        Raises:
            OntologyError: the file is missing, none of ours, or of another version.
        """
        return cls((OntologyDatabase(path),), (str(path),))

    @classmethod
    def installed(cls) -> Ontology:
        """What this user has: the hospital's own if there is one at `ontology_path`, then the table that ships.

        Raises:
            OntologyError: $ANOMALABEL_ONTOLOGY names no file, or the file is none of ours.
        """
        path = ontology_path()
        if path.is_file():
            return cls.open(path).then(cls.shipped())
        if os.environ.get(ONTOLOGY_VARIABLE):
            raise OntologyError(
                f"{ONTOLOGY_VARIABLE} names {path}, which is no file.",
                f"Write it with: anomalabel ontology import MRCONSO.RRF, or unset {ONTOLOGY_VARIABLE}.",
            )
        return cls.shipped()

    def then(self, other: Ontology) -> Ontology:
        """Both, this one first."""
        return Ontology((*self._sources, *other._sources), (*self.names, *other.names))

    def lookup(self, term: str) -> Concept | None:
        """The one concept that a term names; None where none does, or several and no source says which.

        Identifiers and synonyms that the first source lacks come from the others where these agree on the UMLS
        identifier.
        """
        answers = [source.find(term) for source in self._sources]
        certain = [found[0] for found in answers if len(found) == 1]
        for found in answers:
            concept = _the_one(found, certain)
            if concept is not None:
                return _completed(concept, certain)
        return None


def _the_one(found: tuple[Concept, ...], certain: list[Concept]) -> Concept | None:
    """Of several with the same name, the one that a source without doubt means too."""
    if len(found) == 1:
        return found[0]
    meant = {concept.umls_cui for concept in certain} - {None}
    agreed = [concept for concept in found if concept.umls_cui in meant]
    return agreed[0] if len(agreed) == 1 else None


def _completed(concept: Concept, certain: list[Concept]) -> Concept:
    """With what other sources say of the same UMLS identifier."""
    for other in certain:
        if concept.umls_cui is None or other.umls_cui != concept.umls_cui:
            continue
        known = {folded(name) for name in (concept.preferred, *concept.synonyms)}
        added = [name for name in (other.preferred, *other.synonyms) if folded(name) not in known]
        concept = replace(
            concept,
            synonyms=(*concept.synonyms, *added),
            snomed_ct=concept.snomed_ct or other.snomed_ct,
            radlex=concept.radlex or other.radlex,
        )
    return concept


def lookup(term: str, ontology: Ontology) -> Concept | None:
    """The one concept that a term names, None where none or several do: exact names only, nothing is guessed.

    Args:
        term: a preferred name or a synonym; case, hyphens and the plural of its last word do not matter.
        ontology: what is asked.

    Raises:
        OntologyError: the hospital's ontology cannot be read.
    """
    return ontology.lookup(term)
