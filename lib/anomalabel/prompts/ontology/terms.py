"""The terms of a config, and which of them an ontology knows."""

from __future__ import annotations

from dataclasses import dataclass

from anomalabel.config import AnatomyConfig
from anomalabel.prompts.ontology.concept import Concept
from anomalabel.prompts.ontology.ontology import Ontology, lookup
from anomalabel.prompts.ontology.spelling import folded


@dataclass(frozen=True)
class ConfigTerm:
    """A word of a config.

    Attributes:
        role: anatomy, modality or condition.
        term: the word as the config writes it.
        concept: what it means; None where no ontology knows it.
    """

    role: str
    term: str
    concept: Concept | None


def config_terms(config: AnatomyConfig, ontology: Ontology) -> tuple[ConfigTerm, ...]:
    """Anatomy, modality and conditions of a config, in this order."""
    conditions = (("condition", condition) for condition in config.conditions)
    roles = (("anatomy", config.anatomy), ("modality", config.modality), *conditions)
    return tuple(ConfigTerm(role, term, lookup(term, ontology)) for role, term in roles)


def unknown_terms(config: AnatomyConfig, ontology: Ontology) -> tuple[str, ...]:
    """Terms of a config that no ontology knows, in the config's order, each once: to be said, not guessed."""
    return tuple(dict.fromkeys(named.term for named in config_terms(config, ontology) if named.concept is None))


def synonyms_of(term: str, ontology: Ontology, most: int) -> tuple[str, ...]:
    """Up to `most` other names of a term, the commonest first; none where it is not known."""
    concept = lookup(term, ontology)
    if concept is None:
        return ()
    names = (concept.preferred, *concept.synonyms)
    return tuple(name for name in names if folded(name) != folded(term))[:most]
