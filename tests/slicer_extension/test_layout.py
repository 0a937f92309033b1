"""Rules of the extension's files: what they may import, what is translated, what CMake installs."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from pathlib import Path

import pytest
from slicer_headless.scene import MODULE_FOLDER

FILES = sorted((MODULE_FOLDER / "AnomaLabelLib").rglob("*.py"))
WIDGETS = [MODULE_FOLDER / "AnomaLabel.py", *sorted((MODULE_FOLDER / "AnomaLabelWidgets").rglob("*.py"))]
SHIPPED_WITH_SLICER = {"numpy", "requests", "scipy", "vtk", "slicer"}
OF_THE_WINDOW = {"AnomaLabelLib", "AnomaLabelWidgets", "qt", "slicer"}
SHOWN_TO_USERS = re.compile(
    r"(Error|Notice|KeyBinding|setText|setToolTip|setWindowTitle|_damaged|_unreadable|_foreign)$|^say$"
)
KEPT_AS_THEY_ARE = {"KeyBinding": 2}
"""The first arguments of these are names for the program, not texts for people."""


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


@pytest.mark.parametrize("path", WIDGETS, ids=place)
def test_the_window_reaches_the_scene_and_the_server_through_the_library_alone(path):
    assert imported(path) - set(sys.stdlib_module_names) <= OF_THE_WINDOW


@pytest.mark.parametrize("path", [*FILES, *WIDGETS], ids=place)
def test_no_text_reaches_a_user_untranslated(path):
    for node in ast.walk(ast.parse(path.read_text())):
        # Python's own errors are faults of ours and reach nobody.
        if isinstance(node, ast.Call) and SHOWN_TO_USERS.search(called(node)) and not hasattr(builtins, called(node)):
            for argument in node.args[KEPT_AS_THEY_ARE.get(called(node), 0) :]:
                bare = isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value
                assert not bare, f"{path.name}:{node.lineno}"


def test_a_translated_text_is_a_plain_literal():
    for path in (*FILES, *WIDGETS):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) == "_":
                (text,) = node.args
                assert isinstance(text, ast.Constant), f"{path.name}:{node.lineno}"


def test_cmake_installs_every_file_and_nothing_that_is_not_there():
    text = (MODULE_FOLDER / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "AnomaLabel")
    listed = {line.strip() for line in text.splitlines() if re.fullmatch(r"\s+[\w/]+\.\w+", line)}
    resources = [path for path in (MODULE_FOLDER / "Resources").rglob("*") if path.is_file()]
    assert listed == {path.relative_to(MODULE_FOLDER).as_posix() for path in (*FILES, *WIDGETS, *resources)}
