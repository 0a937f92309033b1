"""`anomalabel ontology`: import, lookup and check as a user sees them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from anomalabel.cli.ontology import ontology
from anomalabel.errors import OutputError
from anomalabel.prompts.ontology import OntologyError

RELEASE = (
    "C0006104|ENG|P|L1|PF|S1|Y|A1||||MSH|MH|D001921|Brain|0|N|256|\n"
    "C0006104|ENG|S|L2|VO|S2|N|A2||||CHV|SY|1|Thinking organ|0|N|256|\n"
    "C7777777|ENG|P|L3|PF|S3|Y|A3||||MSH|MH|D000001|Benign nodule|0|N|256|\n"
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The commands, wide, for a user without an ontology of their own."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("ANOMALABEL_ONTOLOGY", raising=False)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(ontology, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def release(tmp_path):
    path = tmp_path / "MRCONSO.RRF"
    path.write_text(RELEASE, encoding="utf-8")
    return path


def cells(output: str, term: str) -> list[str]:
    """The row of a table that holds a term."""
    row = next(text for text in output.splitlines() if f" {term} " in text)
    return [cell.strip() for cell in row.strip("│|").split("│")]


def test_check_shows_codes_and_says_what_is_not_known(run):
    output = run("check", "--config", "breast_ultrasound")
    assert cells(output, "breast") == ["anatomy", "breast", "breast", "76752008", "RID28749", "C0006141"]
    assert cells(output, "breast tumor")[2:] == ["breast neoplasm", "126926005", "not known", "C1458155"]
    assert cells(output, "benign nodule") == ["condition", "benign nodule", "not known", "", "", ""]
    assert "Asked: the table that ships." in output
    assert "Not known: benign nodule." in output


def test_check_of_a_config_that_is_known_whole(run):
    assert "Not known" not in run("check", "--config", "brain_mri")


def test_an_imported_release_is_found_and_asked_first(run, release, tmp_path):
    written = tmp_path / "data" / "anomalabel" / "ontology.sqlite"
    assert f"written: {written}, 2 concepts with 3 names" in run("import", release)
    assert cells(run("lookup", "thinking organs"), "preferred") == ["preferred", "Brain"]
    output = run("check", "--config", "breast_ultrasound")
    assert "Not known" not in output
    assert f"Asked: {written}, then the table that ships." in output
    with pytest.raises(OutputError, match="--force"):
        run("import", release)
    run("import", release, "--force")


def test_another_place_is_named_for_later(run, release, tmp_path):
    out = tmp_path / "elsewhere.sqlite"
    assert f"ANOMALABEL_ONTOLOGY={out}" in run("import", release, "--out", out)
    assert cells(run("lookup", "brain"), "preferred") == ["preferred", "brain"]


def test_lookup_shows_names_and_codes(run):
    output = run("lookup", "X-Rays")
    assert cells(output, "preferred") == ["preferred", "X-ray"]
    assert cells(output, "SNOMED CT") == ["SNOMED CT", "not known"]
    assert cells(output, "RadLex") == ["RadLex", "RID10345"]
    assert cells(output, "UMLS") == ["UMLS", "C1306645"]


def test_lookup_of_an_unknown_term(run):
    with pytest.raises(OntologyError, match="'brian' is not known to the table that ships"):
        run("lookup", "brian")


def test_a_stopped_import_says_so_and_ends_with_130(monkeypatch, tmp_path, release):
    def stopped(*_arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("ANOMALABEL_ONTOLOGY", str(tmp_path / "own.sqlite"))
    monkeypatch.setattr("anomalabel.prompts.ontology.import_mrconso", stopped)
    result = CliRunner().invoke(ontology, ["import", str(release)])
    assert result.exit_code == 130
    assert "is as it was" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["MRCONSO.RRF"]
