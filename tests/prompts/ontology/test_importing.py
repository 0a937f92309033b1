"""A UMLS release becomes a file that is whole or not there."""

from __future__ import annotations

import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from anomalabel.errors import Cancelled, OutputError
from anomalabel.prompts.ontology import Concept, Ontology, OntologyError, import_mrconso, importing, lookup
from anomalabel.prompts.ontology.mrconso import read_mrconso

from .conftest import RELEASE, line


def silent(done: int, total: int) -> None:
    pass


def test_names_and_codes_of_one_language_come_back(hospital):
    ontology = Ontology.open(hospital)
    assert lookup("brain", ontology) == Concept(
        "Brain", ("Encephalon", "Brain structure", "Brain, NOS"), snomed_ct="12738006", umls_cui="C0006104"
    )
    assert lookup("encephalons", ontology).umls_cui == "C0006104"
    assert lookup("nonsmall growths", ontology).umls_cui == "C0700001"


@pytest.mark.parametrize("term", ["Gehirn", "Grey lump", "liver"])
def test_other_languages_suppressed_names_and_other_things_are_not_known(hospital, term):
    assert lookup(term, Ontology.open(hospital)) is None


def test_another_language(write_release, tmp_path):
    written = import_mrconso(write_release(), tmp_path / "german.sqlite", silent, language="GER")
    assert (written.concepts, written.names) == (1, 1)
    assert lookup("gehirn", Ontology.open(written.path)).preferred == "Gehirn"


def test_a_name_of_two_concepts_is_not_guessed(hospital):
    assert lookup("cold", Ontology.open(hospital)) is None
    assert lookup("common cold", Ontology.open(hospital)).umls_cui == "C0009443"


def test_of_several_snomed_codes_the_one_with_this_name_or_none(hospital):
    ontology = Ontology.open(hospital)
    assert lookup("non-small growth", ontology).snomed_ct is None
    assert lookup("growth b", ontology).snomed_ct == "2222"


def test_counts_progress_and_nothing_else_left(write_release, tmp_path):
    source, seen = write_release(), []
    out = tmp_path / "deep" / "down" / "ontology.sqlite"
    written = import_mrconso(source, out, lambda done, total: seen.append((done, total)))
    assert (written.path, written.concepts, written.names) == (out, 5, 14)
    assert seen == [(source.stat().st_size, source.stat().st_size)]
    assert [path.name for path in out.parent.iterdir()] == ["ontology.sqlite"]


def assert_nothing_left(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["MRCONSO.RRF"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (("a,b,c\n",), "Line 1 of .* has not the 18 columns"),
        ((*RELEASE[:2], RELEASE[2].replace("|\n", "\n")), "Line 3 of .* has not the 18 columns"),
        ((*RELEASE[:4], "\n"), "Line 5 of .* has not the 18 columns"),
        ((line("C0006104", "Gehirn", language="GER"),), "no name in the language ENG"),
        ((), "no name in the language ENG"),
    ],
)
def test_what_is_no_release_is_refused_with_the_line(write_release, tmp_path, lines, complaint):
    with pytest.raises(OntologyError, match=complaint):
        import_mrconso(write_release(lines), tmp_path / "ontology.sqlite", silent)
    assert_nothing_left(tmp_path)


def test_bytes_that_are_not_utf8(tmp_path):
    source = tmp_path / "MRCONSO.RRF"
    source.write_bytes(RELEASE[0].encode() + RELEASE[1].encode("latin-1").replace(b"Enceph", b"Enc\xe9ph"))
    with pytest.raises(OntologyError, match=r"Line 2 of .* is not UTF-8"):
        import_mrconso(source, tmp_path / "ontology.sqlite", silent)
    assert_nothing_left(tmp_path)


def test_a_file_without_line_ends_is_not_read_whole(tmp_path):
    source = tmp_path / "MRCONSO.RRF"
    source.write_bytes(b"x" * (3 << 20))
    with pytest.raises(OntologyError, match=r"Line 1 of .* longer"):
        import_mrconso(source, tmp_path / "ontology.sqlite", silent)


@pytest.mark.parametrize("name", ["absent.RRF", "."])
def test_a_release_that_cannot_be_read(tmp_path, name):
    with pytest.raises(OntologyError, match="cannot be read"):
        import_mrconso(tmp_path / name, tmp_path / "ontology.sqlite", silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt])
def test_stopping_leaves_nothing_and_an_old_file_as_it_was(write_release, tmp_path, monkeypatch, stop):
    monkeypatch.setattr("anomalabel.prompts.ontology.mrconso.BYTES_BETWEEN_REPORTS", 100)
    source, out = write_release(), tmp_path / "ontology.sqlite"

    def stopping(done: int, total: int) -> None:
        if done > total / 2:
            raise stop

    with pytest.raises(stop):
        import_mrconso(source, out, stopping)
    assert_nothing_left(tmp_path)
    out.write_bytes(b"old")
    with pytest.raises(stop):
        import_mrconso(source, out, stopping, force=True)
    assert out.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk(write_release, tmp_path, monkeypatch):
    connect = importing._connect

    def nearly_full(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 5")
        return connection

    monkeypatch.setattr(importing, "_connect", nearly_full)
    with pytest.raises(OutputError, match="disk is full") as raised:
        import_mrconso(write_release(), tmp_path / "ontology.sqlite", silent)
    assert "Make room" in str(raised.value)
    assert_nothing_left(tmp_path)


def test_a_folder_that_cannot_be_made(write_release, tmp_path):
    source = write_release()
    with pytest.raises(OutputError, match="cannot be written"):
        import_mrconso(source, source / "ontology.sqlite", silent)


def test_a_file_that_is_there_is_kept_unless_forced(write_release, hospital):
    before = hospital.read_bytes()
    with pytest.raises(OutputError, match="--force"):
        import_mrconso(write_release(RELEASE[:1]), hospital, silent)
    assert hospital.read_bytes() == before
    import_mrconso(write_release(RELEASE[:1]), hospital, silent, force=True)
    assert lookup("encephalon", Ontology.open(hospital)) is None


def test_memory_does_not_grow_with_the_release(tmp_path):
    def peak(concepts: int) -> int:
        source = tmp_path / f"{concepts}.RRF"
        with source.open("w", encoding="utf-8") as stream:
            for number in range(concepts):
                stream.write(line(f"C{number:07d}", f"thing {number}", preferred=True))
        tracemalloc.start()
        import_mrconso(source, tmp_path / f"{concepts}.sqlite", silent)
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    assert peak(8000) < peak(800) + 100_000


def test_every_line_is_read_once_and_in_order(write_release):
    rows = list(read_mrconso(write_release(), "ENG", silent))
    kept = [text for text in RELEASE if "|ENG|" in text and "|O|" not in text]
    assert [row.cui for row in rows] == [text.split("|")[0] for text in kept]
    assert [row.text for row in rows if row.preferred] == [
        *("Brain", "Common cold", "Cold temperature", "Non-small growth", "Mammary Neoplasms"),
    ]
