"""A UMLS release of a few invented lines, in the real layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anomalabel.prompts.ontology import import_mrconso


def line(
    cui: str,
    text: str,
    *,
    language: str = "ENG",
    preferred: bool = False,
    vocabulary: str = "MSH",
    code: str = "D000",
    suppressed: str = "N",
) -> str:
    """One line of MRCONSO.RRF: 18 columns, each closed by "|"."""
    status, kind, first = ("P", "PF", "Y") if preferred else ("S", "VO", "N")
    columns = (
        *(cui, language, status, "L1", kind, "S1", first, "A1", "", "", ""),
        *(vocabulary, "PT", code, text, "0", suppressed, "256"),
    )
    return "|".join(columns) + "|\n"


RELEASE = (
    line("C0006104", "Brain", preferred=True),
    line("C0006104", "Encephalon"),
    line("C0006104", "Brain structure", vocabulary="SNOMEDCT_US", code="12738006"),
    line("C0006104", "Gehirn", language="GER"),
    line("C0006104", "Brain, NOS"),
    line("C0006104", "BRAIN"),
    line("C0006104", "Grey lump", suppressed="O"),
    line("C0009443", "Common cold", preferred=True),
    line("C0009443", "Cold"),
    line("C0009264", "Cold temperature", preferred=True),
    line("C0009264", "Cold"),
    line("C0700001", "Non-small growth", preferred=True),
    line("C0700001", "Growth A", vocabulary="SNOMEDCT_US", code="1111"),
    line("C0700001", "Growth B", vocabulary="SNOMEDCT_US", code="2222"),
    line("C1458155", "Mammary Neoplasms", preferred=True),
    line("C1458155", "Breast Neoplasm"),
)


@pytest.fixture
def write_release(tmp_path) -> Callable[..., Path]:
    def write(lines: tuple[str, ...] = RELEASE) -> Path:
        path = tmp_path / "MRCONSO.RRF"
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def hospital(write_release, tmp_path) -> Path:
    """The release as the file that an import writes."""
    return import_mrconso(write_release(), tmp_path / "own" / "ontology.sqlite", lambda done, total: None).path
