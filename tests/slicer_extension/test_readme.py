"""The extension's README says what the panel says: its keys, its errors, the names of its tabs and buttons."""

from __future__ import annotations

import ast
import re
from xml.etree import ElementTree

import pytest
from AnomaLabelLib.panel.keys import help_card
from slicer_headless.scene import MODULE_FOLDER

README = (MODULE_FOLDER.parent / "README.md").read_text()
PLACEHOLDER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
SLICERS_OWN = {
    "Edit > Application Settings > Modules > Additional module paths",
    "View > Extensions Manager",
    "Install",
    "File > Download Sample Data > MRBrainTumor1",
    "Segmentation > AnomaLabel",
    "View > Python Console",
}


def table(heading: str) -> list[list[str]]:
    """Cells of the rows of the table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def texts_of_panel() -> set[str]:
    """Every text that the extension offers for translation."""
    found = set()
    for path in MODULE_FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                (text,) = node.args
                found.add(text.value)
    return found


def texts_of_ui() -> set[str]:
    files = (MODULE_FOLDER / "Resources" / "UI").glob("*.ui")
    return {each.text or "" for path in files for each in ElementTree.parse(path).iter("string")}  # noqa: S314


def test_the_keys_are_those_of_the_help_card():
    card = [[f"`{key}`", text] for _heading, lines in help_card() for key, text in lines]
    assert table("Keys") == card


def test_each_error_in_the_table_is_one_that_the_panel_says():
    said = {PLACEHOLDER.sub(lambda found: found[1].upper(), text) for text in texts_of_panel()}
    rows = table("Troubleshooting")
    assert len(rows) > 20
    assert [cause for cause, _remedy in rows if cause not in said] == []
    assert [cause for cause, remedy in rows if len(remedy) < 8] == []


@pytest.mark.parametrize("heading", ["Tutorial", "Install"])
def test_tabs_and_buttons_are_named_as_the_panel_names_them(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    named = {" ".join(each.split()) for each in re.findall(r"(?<![*\w])\*([^*]+)\*(?![*\w])", section)}
    known = texts_of_ui() | texts_of_panel() | SLICERS_OWN
    parts = {part for each in named - known for part in each.split(" > ")}
    assert [part for part in sorted(parts) if part not in known and not part.endswith(":")] == []
