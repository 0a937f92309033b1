"""Reports out of CSV files and sentences out of reports."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.errors import ConfigError
from anomalabel.training.report_sentences import gather_sentences, read_reports, split_sentences


def written(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.mark.parametrize(
    ("report", "sentences"),
    [
        ("The lungs are clear. No effusion.", ["The lungs are clear.", "No effusion."]),
        ("A nodule of 2.5 cm is seen.", ["A nodule of 2.5 cm is seen."]),
        ("FINDINGS: Normal brain.\r\n\r\nIMPRESSION:\nNo lesion", ["Normal brain.", "No lesion"]),
        (
            "1. Normal heart.\n2) Clear  lungs\n- no   mass\n* old scar",
            ["Normal heart.", "Clear lungs", "no mass", "old scar"],
        ),
        ("Heart normal; lungs clear", ["Heart normal;", "lungs clear"]),
        ("Seen at 10:30 by XXXX today!  Why? None.", ["Seen at 10:30 by XXXX today!"]),
        ("Normal.", []),
        ("", []),
        ("12 34 56", []),
    ],
)
def test_sentences_of_a_report(report: str, sentences: list[str]) -> None:
    assert split_sentences(report) == sentences


@given(st.text())
def test_no_letter_or_digit_of_a_kept_sentence_is_made_up(report: str) -> None:
    position = 0
    squeezed = "".join(report.split())
    for sentence in split_sentences(report):
        assert "  " not in sentence
        assert sentence == sentence.strip()
        found = squeezed.find("".join(sentence.split()), position)
        assert found >= 0
        position = found + len("".join(sentence.split()))


def test_reports_of_a_file(tmp_path: Path) -> None:
    rows = [
        ["id", "Report", "text"],
        ["1", "Normal, clear.\nNo mass.", "other"],
        ["2", "  ", "x"],
        ["3"],
        ["4", "Ödem"],
    ]
    path = written(tmp_path / "reports.csv", rows, "utf-8-sig")
    assert read_reports(path) == ["Normal, clear.\nNo mass.", "Ödem"]
    assert read_reports(path, "text") == ["other", "x"]
    assert read_reports(written(tmp_path / "text.csv", [["text"], ["a b"]])) == ["a b"]


def test_a_long_report_is_read_whole(tmp_path: Path) -> None:
    long = "Normal brain. " * 20_000
    assert read_reports(written(tmp_path / "long.csv", [["report"], [long]])) == [long.strip()]
    assert csv.field_size_limit() == 131072, "the limit of other code is as it was"


@pytest.mark.parametrize(
    ("content", "column", "complaint"),
    [
        (b"", None, "are empty"),
        (b"id;report\n1;Normal", None, "no column 'report' or 'text'; the header has 'id;report'"),
        (b"id,report\n1,Normal", "Report", "no column 'Report'; the header has 'id', 'report'"),
        ("report\nÖdem".encode("latin-1"), None, "are no UTF-8 text"),
        ("report\nnormal".encode("utf-16"), None, "are no UTF-8 text"),
    ],
)
def test_files_that_are_no_reports(tmp_path: Path, content: bytes, column: str | None, complaint: str) -> None:
    path = tmp_path / "reports.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        read_reports(path, column)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_reports(path)


def test_a_field_without_end_is_no_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomalabel.training.report_sentences.LONGEST_FIELD", 50)
    path = tmp_path / "reports.csv"
    path.write_text('report\n"never closed ' + "word " * 20)
    with pytest.raises(ConfigError, match="are no CSV: field larger than field limit"):
        read_reports(path)
    assert csv.field_size_limit() == 131072


def test_each_sentence_once_and_each_report_once(tiny_clip: OpenClipModel) -> None:
    gathered = gather_sentences(
        [
            "Normal brain. Healthy gray matter. NORMAL BRAIN.",
            "healthy gray matter. Normal brain.",
            "A glioma. Normal brain.",
            "A tumor.",
            "A lesion. " + "brain " * 70 + "end.",
            "A lesion. A tumor.",
        ],
        tiny_clip,
    )
    assert gathered.sentences == ("Normal brain.", "Healthy gray matter.", "A glioma.", "A tumor.", "A lesion.")
    assert gathered.reports == ((0, 1), (2, 0), (4, 3))
    assert (gathered.too_long, gathered.repeated, gathered.short) == (1, 1, 2)
