"""The table that ships: correct where it can be checked, unambiguous, and honest about what it does not know."""

import re
from collections import Counter
from importlib.resources import files

import pytest
from pydicom.sr._concepts_dict import concepts as pydicom_concepts

from anomalabel.config import load_config, shipped_config_names
from anomalabel.prompts.ontology import Concept, Ontology, lookup, unknown_terms
from anomalabel.prompts.ontology.shipped import shipped_rows

DEPARTMENTS = 7030
"""Context group of hospital departments, where "Ultrasonography" is a place and not an image."""

CONFIRMATIONS = {"pydicom", "dicom", "radlex", "anatomiclocations", "public"}
SHAPES = {"snomed_ct": r"[1-9]\d{5,17}", "radlex": r"RID[1-9]\d*", "umls_cui": r"C\d{7}"}
CONCEPTS = [row.concept for row in shipped_rows()]


def pydicom_snomed() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Names of each code and codes of each name (lower case), departments left out."""
    names, codes = {}, {}
    for meanings in pydicom_concepts["SCT"].values():
        for code, (name, groups) in meanings.items():
            if DEPARTMENTS not in groups and "department" not in name and "service" not in name:
                names.setdefault(code, set()).add(name.lower())
                codes.setdefault(name.lower(), set()).add(code)
    return names, codes


PYDICOM_NAMES, PYDICOM_CODES = pydicom_snomed()


def all_names(concept: Concept) -> set[str]:
    return {name.lower() for name in (concept.preferred, *concept.synonyms)}


@pytest.mark.parametrize("row", shipped_rows(), ids=lambda row: row.concept.preferred)
def test_each_snomed_code_that_pydicom_has_means_the_same_there(row):
    code = row.concept.snomed_ct
    names = all_names(row.concept)
    if code in PYDICOM_NAMES:
        assert PYDICOM_NAMES[code] & names
    if code is not None:
        others = {name: PYDICOM_CODES[name] for name in names if code not in PYDICOM_CODES.get(name, {code})}
        assert others == {}
    assert (code in PYDICOM_NAMES) == (row.source.get("snomed_ct") == "pydicom")


def test_each_identifier_has_its_shape_and_what_confirmed_it():
    for row in shipped_rows():
        given = {name for name in SHAPES if getattr(row.concept, name) is not None}
        assert given, row.concept.preferred
        assert set(row.source) == given
        assert set(row.source.values()) <= CONFIRMATIONS
        for name in given:
            assert re.fullmatch(SHAPES[name], getattr(row.concept, name))


@pytest.mark.parametrize("identifier", SHAPES)
def test_no_identifier_stands_for_two_concepts(identifier):
    values = [value for concept in CONCEPTS if (value := getattr(concept, identifier)) is not None]
    assert [value for value, count in Counter(values).items() if count > 1] == []


def test_each_name_finds_its_own_concept_and_no_other():
    ontology = Ontology.shipped()
    for concept in CONCEPTS:
        for name in (concept.preferred, *concept.synonyms):
            assert lookup(name, ontology) == concept


@pytest.mark.parametrize(
    ("term", "preferred"),
    [
        ("Brain", "brain"),
        ("LYMPH NODES", "lymph node"),
        ("lymph-node", "lymph node"),
        ("x ray", "X-ray"),
        ("X\u2010Rays", "X-ray"),
        ("MRIs", "MRI"),
        ("Metastases", "metastasis"),
        ("Tumours", "neoplasm"),
        ("breast masses", "breast mass"),
        ("biopsy", None),
        ("ovaries", "ovary"),
        ("testes", "testis"),
        ("bronchi", "bronchus"),
        ("ground glass opacities", "ground-glass opacity"),
        ("adenomata", "adenoma"),
        ("brian", None),
        ("a brain", None),
        ("", None),
        ("-", None),
        ("  tumor\n", "neoplasm"),
    ],
)
def test_case_hyphens_and_number_do_not_matter_and_nothing_is_guessed(term, preferred):
    found = lookup(term, Ontology.shipped())
    assert (found.preferred if found else None) == preferred


def test_known_codes_of_brain_mri():
    ontology = Ontology.shipped()
    assert lookup("brain", ontology) == Concept("brain", ("cerebral tissue",), "12738006", "RID6434", "C0006104")
    assert lookup("Magnetic resonance imaging", ontology).radlex == "RID10312"
    assert lookup("astrocytoma", ontology).snomed_ct == "38713004"


def test_what_the_table_does_not_know_of_the_shipped_configs_is_said():
    unknown = {name: unknown_terms(load_config(name), Ontology.shipped()) for name in shipped_config_names()}
    assert {name: terms for name, terms in unknown.items() if terms} == {
        "breast_ultrasound": ("benign nodule",),
        "liver_ct": ("malignant cells",),
        "lymph_node_histology": ("histopathology",),
        "retinal_oct": ("retinal fluid", "drusen"),
    }


def test_the_note_beside_the_table_counts_right():
    note = (files("anomalabel.prompts.ontology") / "README.md").read_text(encoding="utf-8")
    counts = [
        len(CONCEPTS),
        sum(concept.snomed_ct is not None for concept in CONCEPTS),
        sum(row.source.get("snomed_ct") == "pydicom" for row in shipped_rows()),
        sum(concept.radlex is not None for concept in CONCEPTS),
        sum(concept.umls_cui is not None for concept in CONCEPTS),
    ]
    sentence = next(text for text in note.splitlines() if text.startswith("Of "))
    assert [int(number) for number in re.findall(r"\d+", sentence)] == counts
