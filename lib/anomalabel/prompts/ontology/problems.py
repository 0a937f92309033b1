"""What can be wrong with an ontology."""

from anomalabel.errors import AnomaLabelError


class OntologyError(AnomaLabelError):
    """A UMLS release or an ontology made of one is missing, damaged, or of another kind; or a term is not known."""
