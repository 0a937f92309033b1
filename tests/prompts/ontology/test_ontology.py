"""Which ontology is asked, and what several of them say together."""

import sqlite3

import pytest

from anomalabel.config import AnatomyConfig, PromptSettings
from anomalabel.prompts.ontology import (
    Ontology,
    OntologyError,
    config_terms,
    lookup,
    ontology_path,
    synonyms_of,
    unknown_terms,
)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A user without an ontology of their own."""
    monkeypatch.delenv("ANOMALABEL_ONTOLOGY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_the_hospitals_answer_comes_first_completed_where_both_mean_the_same(hospital):
    both = Ontology.open(hospital).then(Ontology.shipped())
    brain = lookup("brain", both)
    assert (brain.preferred, brain.snomed_ct, brain.radlex, brain.umls_cui) == (
        *("Brain", "12738006", "RID6434", "C0006104"),
    )
    assert brain.synonyms == ("Encephalon", "Brain structure", "Brain, NOS", "cerebral tissue")
    assert lookup("breast neoplasms", both).snomed_ct == "126926005"
    assert lookup("liver", both) == lookup("liver", Ontology.shipped())
    assert lookup("cold", both) is None


def test_a_doubtful_name_is_settled_by_a_source_that_is_sure(tmp_path, write_release):
    from anomalabel.prompts.ontology import import_mrconso

    from .conftest import line

    release = write_release(
        (
            line("C0006104", "Entire brain", preferred=True),
            line("C0006104", "Brain"),
            line("C9999999", "Brain of a thing", preferred=True),
            line("C9999999", "Brain"),
        )
    )
    own = Ontology.open(import_mrconso(release, tmp_path / "own.sqlite", lambda done, total: None).path)
    assert lookup("brain", own) is None
    assert lookup("brain", own.then(Ontology.shipped())).preferred == "Entire brain"


def test_what_is_installed_is_found(nowhere, hospital, monkeypatch, tmp_path):
    assert Ontology.installed().names == ("the table that ships",)
    default = tmp_path / "data" / "anomalabel" / "ontology.sqlite"
    assert ontology_path() == default
    default.parent.mkdir(parents=True)
    default.write_bytes(hospital.read_bytes())
    assert Ontology.installed().names == (str(default), "the table that ships")
    monkeypatch.setenv("ANOMALABEL_ONTOLOGY", str(hospital))
    assert Ontology.installed().names == (str(hospital), "the table that ships")


def test_a_named_ontology_that_is_missing_is_an_error(nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("ANOMALABEL_ONTOLOGY", str(tmp_path / "absent.sqlite"))
    with pytest.raises(OntologyError, match=r"ANOMALABEL_ONTOLOGY names .*absent.sqlite, which is no file"):
        Ontology.installed()


def test_files_that_are_none_of_ours(tmp_path, hospital):
    with pytest.raises(OntologyError, match="There is no ontology"):
        Ontology.open(tmp_path / "absent.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("hello" * 300)
    with pytest.raises(OntologyError, match="cannot be read"):
        Ontology.open(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE name (cui)")
    connection.close()
    with pytest.raises(OntologyError, match="no ontology of this version"):
        Ontology.open(other)
    opened = Ontology.open(hospital)
    hospital.write_bytes(hospital.read_bytes()[:4096])
    with pytest.raises(OntologyError, match="cannot be read"):
        lookup("brain", opened)


CONFIG = AnatomyConfig(
    name="knee",
    title="Knee",
    anatomy="knee",
    modality="thermovision",
    conditions=("tear", "cysts", "tear"),
    prompts=PromptSettings(positive=("a",), negative=("b",)),
)


def test_terms_of_a_config_and_those_that_are_not_known():
    named = config_terms(CONFIG, Ontology.shipped())
    assert [(term.role, term.term, term.concept.preferred if term.concept else None) for term in named] == [
        ("anatomy", "knee", "knee"),
        ("modality", "thermovision", None),
        ("condition", "tear", None),
        ("condition", "cysts", "cyst"),
        ("condition", "tear", None),
    ]
    assert unknown_terms(CONFIG, Ontology.shipped()) == ("thermovision", "tear")


def test_synonyms_in_the_order_of_the_table_without_the_term_itself():
    ontology = Ontology.shipped()
    assert synonyms_of("Breast Tumor", ontology, 3) == ("breast neoplasm", "breast tumour", "neoplasm of breast")
    assert synonyms_of("consolidation", ontology, 1) == ("lung consolidation",)
    assert synonyms_of("brian", ontology, 5) == ()
    assert synonyms_of("brain", ontology, 0) == ()
