"""Rules of the extension's files: what they may import, what is translated, what CMake installs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slicer_headless.scene import MODULE_FOLDER

LIBRARY = MODULE_FOLDER / "AnomaLabelLib"
FILES = sorted(LIBRARY.rglob("*.py"))
SHIPPED_WITH_SLICER = {"numpy", "requests", "vtk", "slicer"}
SHOWN_TO_USERS = re.compile(r"(Error|Notice|setText|_damaged|_unreadable|_foreign)$")


def place(path: Path) -> str:
    return str(path.relative_to(MODULE_FOLDER))


def imported(path: Path) -> set[str]:
    """First parts of the modules that a file imports from elsewhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("path", FILES, ids=place)
def test_the_library_needs_only_what_slicer_ships_and_no_qt(path):
    assert imported(path) - set(sys.stdlib_module_names) <= SHIPPED_WITH_SLICER


@pytest.mark.parametrize("path", [*FILES, MODULE_FOLDER / "AnomaLabel.py"], ids=place)
def test_no_text_reaches_a_user_untranslated(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and SHOWN_TO_USERS.search(called(node)):
            for argument in node.args:
                bare = isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value
                assert not bare, f"{path.name}:{node.lineno}"


def test_a_translated_text_is_a_plain_literal():
    for path in (*FILES, MODULE_FOLDER / "AnomaLabel.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) == "_":
                (text,) = node.args
                assert isinstance(text, ast.Constant), f"{path.name}:{node.lineno}"


def test_cmake_installs_every_file():
    listed = (MODULE_FOLDER / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "AnomaLabel")
    wanted = [path.relative_to(MODULE_FOLDER) for path in (*FILES, MODULE_FOLDER / "AnomaLabel.py")]
    wanted += [path.relative_to(MODULE_FOLDER) for path in (MODULE_FOLDER / "Resources").rglob("*.*")]
    missing = [str(path) for path in wanted if not re.search(rf"^\s*{re.escape(str(path))}$", listed, re.MULTILINE)]
    assert missing == []
    assert listed.count("AnomaLabelLib/") == len(FILES)


def test_the_icon_is_as_the_catalogue_wants_it():
    icon = Image.open(MODULE_FOLDER / "Resources" / "Icons" / "AnomaLabel.png")
    assert icon.size == (128, 128)
    assert len(np.unique(np.asarray(icon).reshape(-1, 4), axis=0)) > 50
