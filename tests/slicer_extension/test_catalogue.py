"""The extension is as Slicer's catalogue wants it: description file, CMake fields, licence, README, pictures."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from catalogue_rules import (
    address_faults,
    cmake_fields,
    consistency_faults,
    entry_faults,
    license_faults,
    linked_files,
    readme_faults,
)
from PIL import Image
from slicer_headless.scene import MODULE_FOLDER

NAME = "AnomaLabel"
FOLDER = MODULE_FOLDER.parent
ROOT = FOLDER.parent
ENTRY_TEXT = (FOLDER / f"{NAME}.json").read_text()
ENTRY = json.loads(ENTRY_TEXT)
CMAKE = (FOLDER / "CMakeLists.txt").read_text()
README = (FOLDER / "README.md").read_text()
NOT_RUN = (FOLDER / "NOT_RUN_HERE.md").read_text()
REPOSITORY = "https://github.com/hospital-a/SlicerAnomaLabel"
RAW = "https://raw.githubusercontent.com/hospital-a/SlicerAnomaLabel/main"
PUBLIC = {**ENTRY, "scm_type": "git", "scm_url": REPOSITORY}
PUBLIC_FIELDS = {
    **cmake_fields(CMAKE),
    "HOMEPAGE": REPOSITORY,
    "ICONURL": f"{RAW}/AnomaLabel/Resources/Icons/AnomaLabel.png",
    "SCREENSHOTURLS": f"{RAW}/Screenshots/slicer_slice_view.png {RAW}/Screenshots/slicer_panel.png",
}


def test_the_entry_follows_schema_and_cmake_file():
    assert entry_faults(ENTRY) == []
    assert consistency_faults(ENTRY, cmake_fields(CMAKE), NAME) == []


def test_the_entry_is_written_as_the_index_formats_it():
    assert json.dumps(dict(sorted(ENTRY.items())), indent=2) + "\n" == ENTRY_TEXT


def test_nothing_points_at_sources_that_are_not_public():
    assert address_faults(ENTRY, cmake_fields(CMAKE), FOLDER) == []


def test_filled_in_as_the_notes_say_it_can_be_submitted():
    assert entry_faults(PUBLIC) == []
    assert consistency_faults(PUBLIC, PUBLIC_FIELDS, NAME) == []
    assert address_faults(PUBLIC, PUBLIC_FIELDS, FOLDER) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tier": 2}, "2 is not one of"),
        ({"tier": "1"}, "not of type 'integer'"),
        ({"scm_type": "svn"}, "'svn' is not one of"),
        ({"keywords": ["anomaly"]}, "'keywords' was unexpected"),
        ({"build_dependencies": "PyTorch"}, "not of type 'array'"),
        ({"scm_url": None}, "not of type 'string'"),
    ],
)
def test_the_schema_bites(change, message):
    assert any(message in fault for fault in entry_faults({**ENTRY, **change}))


def test_what_the_schema_requires_cannot_be_left_out():
    for key in ("$schema", "category", "scm_url"):
        assert entry_faults({name: value for name, value in ENTRY.items() if name != key}) != []
    for key in set(ENTRY) - {"$schema", "category", "scm_url"}:
        assert entry_faults({name: value for name, value in ENTRY.items() if name != key}) == []


@pytest.mark.parametrize(
    "address",
    [
        "https://git.anomalabel.org/anomalabel/SlicerAnomaLabel",
        "https://github.com/OWNER/SlicerAnomaLabel",
        "https://github.com/your-name/SlicerAnomaLabel",
        "https://example.com/a/SlicerAnomaLabel",
        "https://github.com/<owner>/SlicerAnomaLabel",
        "git@github.com:hospital-a/SlicerAnomaLabel.git",
        "http://github.com/hospital-a/SlicerAnomaLabel",
        "https://github.com/SlicerAnomaLabel",
        "https://token@github.com/hospital-a/SlicerAnomaLabel",
        "",
    ],
)
def test_a_made_up_repository_is_refused(address):
    assert any("is no repository" in fault for fault in address_faults({**PUBLIC, "scm_url": address}, {}, FOLDER))


@pytest.mark.parametrize(
    ("entry", "fields", "message"),
    [
        ({**ENTRY, "scm_url": REPOSITORY}, {}, "names an address"),
        (ENTRY, {"ICONURL": f"{RAW}/AnomaLabel.png"}, "not public"),
        ({**PUBLIC, "scm_url": "https://github.com/hospital-a/anomalabel"}, PUBLIC_FIELDS, "word Slicer"),
        (PUBLIC, {**PUBLIC_FIELDS, "SCREENSHOTURLS": ""}, "no screenshot"),
        (PUBLIC, {**PUBLIC_FIELDS, "SCREENSHOTURLS": f"{RAW}/Screenshots/none.png"}, "no picture of this folder"),
        (PUBLIC, {**PUBLIC_FIELDS, "ICONURL": f"{REPOSITORY}/blob/main/AnomaLabel/AnomaLabel.png"}, "no raw file"),
        (PUBLIC, {**PUBLIC_FIELDS, "HOMEPAGE": "https://github.com/hospital-b/x"}, "homepage"),
    ],
)
def test_addresses_that_the_catalogue_could_not_fetch_are_refused(entry, fields, message):
    assert any(message in fault for fault in address_faults(entry, fields, FOLDER))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PROJECT": "SlicerAnomaLabel"}, "not named like"),
        ({"CATEGORY": "Analysis"}, "categories differ"),
        ({"DEPENDS": "PyTorch SlicerPythonTestRunner"}, "dependencies differ"),
        ({"DESCRIPTION": "One. Two. Three."}, "1 or 2 sentences"),
        ({"DESCRIPTION": "One; two."}, "for a list"),
    ],
)
def test_an_entry_that_contradicts_its_cmake_file_is_refused(changes, message):
    assert any(message in fault for fault in consistency_faults(ENTRY, {**cmake_fields(CMAKE), **changes}, NAME))


def test_the_licence_is_whole_here_and_there_and_the_package_says_the_same():
    assert license_faults(FOLDER) == []
    assert license_faults(ROOT) == []
    assert (FOLDER / "LICENSE.txt").read_bytes() == (ROOT / "LICENSE").read_bytes()
    (call,) = (
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    told = {each.arg: each.value for each in call.keywords}
    assert ast.literal_eval(told["license"]) == "Apache-2.0"
    assert ast.literal_eval(told["license_files"]) == ["LICENSE"]


def test_a_shortened_licence_is_refused(tmp_path):
    assert license_faults(tmp_path) == ["there is no licence file in the root"]
    (tmp_path / "LICENSE.txt").write_text("Apache License, Version 2.0\n")
    assert license_faults(tmp_path) == ["the licence is not the whole text of Apache 2.0"]


def test_the_readme_has_what_the_checklist_asks_for():
    assert readme_faults(README, NAME) == []


def test_a_readme_without_it_is_refused():
    assert len(readme_faults("# Another\n\nHello.\n", NAME)) == 10


@pytest.mark.parametrize("text", [README, NOT_RUN], ids=["README", "NOT_RUN_HERE"])
def test_the_folder_stands_alone_and_every_link_of_it_leads_somewhere(text):
    """It is published as a repository of its own, so nothing outside it may be linked."""
    assert [link for link in linked_files(text) if ".." in Path(link).parts] == []
    assert [link for link in linked_files(text) if not (FOLDER / link).is_file()] == []


def test_each_screenshot_is_the_picture_of_the_docs():
    shown = [Path(link).name for link in linked_files(README) if link.startswith("Screenshots/")]
    assert {path.name for path in (FOLDER / "Screenshots").glob("*.png")} == set(shown)
    for name in shown:
        same = (FOLDER / "Screenshots" / name).read_bytes() == (ROOT / "docs" / "pictures" / name).read_bytes()
        assert same, f"copy docs/pictures/{name} to slicer_extension/Screenshots"


def test_the_icon_is_128_pixels_wide_and_no_plain_square():
    icon = Image.open(MODULE_FOLDER / "Resources" / "Icons" / f"{NAME}.png")
    assert icon.size == (128, 128)
    assert len(np.unique(np.asarray(icon).reshape(-1, 4), axis=0)) > 50


def test_nothing_is_installed_at_run_time_and_no_program_started():
    """The catalogue's reviewers ask for it: no pip at start-up, no executables, nothing evaluated."""
    refused = re.compile(r"\b(pip_install|pip_ensure|subprocess|os\.system|eval|exec)\b")
    sources = [path for path in MODULE_FOLDER.rglob("*.py") if "Testing" not in path.parts]
    assert len(sources) > 20
    assert [path.name for path in sources if refused.search(path.read_text())] == []


def test_the_notes_say_what_to_fill_in_before_submission():
    for field in ("scm_type", "scm_url", "EXTENSION_HOMEPAGE", "EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        assert field in NOT_RUN
    assert "git subtree split --prefix=slicer_extension" in NOT_RUN
