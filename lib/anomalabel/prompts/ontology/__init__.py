"""What a term of a config is called elsewhere: SNOMED CT, RadLex and UMLS (few_shot_localization.txt section 4.2.3)."""

from anomalabel.prompts.ontology.concept import Concept
from anomalabel.prompts.ontology.importing import ENGLISH, ImportedOntology, import_mrconso
from anomalabel.prompts.ontology.location import ONTOLOGY_VARIABLE, ontology_path
from anomalabel.prompts.ontology.ontology import Ontology, lookup
from anomalabel.prompts.ontology.problems import OntologyError
from anomalabel.prompts.ontology.terms import ConfigTerm, config_terms, synonyms_of, unknown_terms

__all__ = [
    "ENGLISH",
    "ONTOLOGY_VARIABLE",
    "Concept",
    "ConfigTerm",
    "ImportedOntology",
    "Ontology",
    "OntologyError",
    "config_terms",
    "import_mrconso",
    "lookup",
    "ontology_path",
    "synonyms_of",
    "unknown_terms",
]
