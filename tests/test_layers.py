"""Imports point one way, from the server and the command line down to the data types."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("monailabel_app", "cli", "demo", "outputs"),
    ("pipeline", "learning", "evaluation", "trained_detectors"),
    ("detectors",),
    ("training",),
    ("attention", "localization", "reconstruction", "explain"),
    ("backbones", "prompts", "preprocessing", "io"),
    ("volume", "finding", "errors", "config", "model_folder", "anomalabel"),
)
"""Parts from the top down; "anomalabel" is the package itself, which holds its version and nothing else."""

RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
BOTTOM = len(LAYERS) - 1
OURS = ("anomalabel", "monailabel_app")


def modules(folder: Path) -> dict[str, Path]:
    """Dotted name to file of every module of a source root's package."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        steps = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path
    return found


def imported(name: str, path: Path) -> set[str]:
    """Dotted names that a module imports anywhere, relative ones made absolute."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def part_of(name: str) -> str | None:
    """The part of the house that a dotted name belongs to; None for other people's packages."""
    steps = name.split(".")
    if steps[0] == "monailabel_app":
        return "monailabel_app"
    if steps[0] != "anomalabel":
        return None
    return steps[1] if len(steps) > 1 and steps[1] in RANK else "anomalabel"


LIBRARY = modules(ROOT / "lib" / "anomalabel")
SERVER = modules(ROOT / "monailabel_app")
EDGES = [
    (name, part_of(name), part_of(target))
    for name, path in (LIBRARY | SERVER).items()
    for target in imported(name, path)
    if part_of(target) is not None
]


def test_every_part_of_the_library_has_its_layer():
    parts = {name.split(".")[1] for name in LIBRARY if "." in name}
    assert parts <= set(RANK)
    assert "anomalabel.pipeline" in LIBRARY
    assert "monailabel_app.server" in SERVER


@pytest.mark.parametrize("part", RANK)
def test_no_import_points_back(part):
    backward = [(name, target) for name, source, target in EDGES if source == part and RANK[target] < RANK[part]]
    assert backward == []


def test_the_imports_that_are_there_are_seen():
    assert ("anomalabel.pipeline", "pipeline", "detectors") in EDGES
    assert ("anomalabel.cli.train", "cli", "training") in EDGES
    assert ("monailabel_app.app", "monailabel_app", "pipeline") in EDGES


def test_the_package_itself_imports_nothing_of_ours():
    assert not [target for name, _, target in EDGES if name == "anomalabel" and target != "anomalabel"]


def test_the_slicer_extension_and_the_rest_do_not_know_each_other():
    extension = ROOT / "slicer_extension"
    files = {path.stem: path for path in sorted(extension.rglob("*.py"))}
    theirs = {"AnomaLabel", "AnomaLabelLib", "slicer_headless", "slicer_extension"}
    assert "presenter" in files
    for path in extension.rglob("*.py"):
        assert not {target for target in imported("extension", path) if target.split(".")[0] in OURS}, path
    for name, path in (LIBRARY | SERVER).items():
        assert not {target for target in imported(name, path) if target.split(".")[0] in theirs}, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import anomalabel.cli", {"anomalabel.cli"}),
        ("from anomalabel import pipeline as p", {"anomalabel.pipeline"}),
        ("def f():\n    from anomalabel.io.read import read_volume", {"anomalabel.io.read.read_volume"}),
        ("from . import nifti", {"anomalabel.io.nifti"}),
        ("from ..cli import main", {"anomalabel.cli.main"}),
    ],
)
def test_all_forms_of_import_are_read(tmp_path, source, expected):
    path = tmp_path / "read.py"
    path.write_text(source)
    assert imported("anomalabel.io.read", path) == expected
