"""Folders of normal and abnormal images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.datasets.folders import list_folders


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def data(tmp_path):
    for name in ("normal/p1_a.png", "normal/deep/p2_a.png", "sick/p3_a.png", "sick/p1_b.png", "more/p4_a.png"):
        picture(tmp_path / name)
    picture(tmp_path / "sick" / "p3_a_mask.png", 255)
    (tmp_path / "sick" / "p1_b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return tmp_path


def test_cases_with_what_is_known(data):
    found = list_folders([data / "normal"], [data / "sick"], [data / "more"], r"(p\d)_")
    assert found.name == "normal against sick"
    assert found.cases == (
        EvaluationCase("normal/deep/p2_a.png", data / "normal/deep/p2_a.png", False, patient="p2"),
        EvaluationCase("normal/p1_a.png", data / "normal/p1_a.png", False, patient="p1"),
        EvaluationCase("sick/p1_b.png", data / "sick/p1_b.png", True, boxes=data / "sick/p1_b.txt", patient="p1"),
        EvaluationCase("sick/p3_a.png", data / "sick/p3_a.png", True, data / "sick/p3_a_mask.png", patient="p3"),
    )
    assert [case.identity for case in found.healthy] == ["more/p4_a.png"]
    assert not found.healthy[0].abnormal


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path):
    for place in ("one/test/normal", "two/test/normal", "one/test/sick"):
        picture(tmp_path / place / "a.png")
    normal = [tmp_path / "one/test/normal", tmp_path / "two/test/normal"]
    found = list_folders(normal, [tmp_path / "one/test/sick"])
    assert [case.identity for case in found.cases] == [
        "one/test/normal/a.png",
        "two/test/normal/a.png",
        "one/test/sick/a.png",
    ]
    assert found.name == "one/test/normal, two/test/normal against one/test/sick"


def test_identities_do_not_tell_where_the_data_lie(data, monkeypatch):
    absolute = list_folders([data / "normal"], [data / "sick"])
    monkeypatch.chdir(data / "sick")
    relative = list_folders([data / "sick" / ".." / "normal"], [data / "sick"])
    assert [case.identity for case in relative.cases] == [case.identity for case in absolute.cases]
    named = list_folders([Path("../normal")], [Path()])
    assert [case.identity for case in named.cases] == [case.identity for case in absolute.cases]


def test_one_side_is_enough_and_none_is_not(data):
    assert [case.abnormal for case in list_folders([], [data / "sick"]).cases] == [True, True]
    with pytest.raises(ConfigError, match="nothing to test"):
        list_folders([], [], [data / "more"])


@pytest.mark.parametrize(
    "roles", [("normal", "sick/../normal", "more"), ("normal", "sick", "normal/deep"), (".", "sick", "more")]
)
def test_a_file_on_two_sides(data, roles):
    normal, abnormal, healthy = ([data / role] for role in roles)
    (data / "sick" / "p1_b.txt").unlink()
    (data / "sick" / "p3_a_mask.png").unlink()
    with pytest.raises(ConfigError, match="is listed twice, as "):
        list_folders(normal, abnormal, healthy)


def test_a_link_is_the_file_it_points_to(data):
    (data / "linked").mkdir()
    (data / "linked" / "other.png").symlink_to(data / "normal" / "p1_a.png")
    with pytest.raises(ConfigError, match=r"listed twice, as normal/p1_a\.png and as linked/other\.png"):
        list_folders([data / "normal"], [data / "linked"])


@pytest.mark.parametrize("role", ["normal", "healthy"])
def test_healthy_images_have_no_lesion(data, role):
    folders = {"normal": [data / "normal"], "abnormal": [data / "more"], role: [data / "sick"]}
    with pytest.raises(ConfigError, match=r"p1_b\.png is listed as normal and .*p1_b\.txt holds boxes"):
        list_folders(**folders)
    (data / "sick" / "p1_b.txt").write_text("\n")
    with pytest.raises(ConfigError, match=r"its mask .*p3_a_mask\.png holds disease"):
        list_folders(**folders)
    picture(data / "sick" / "p3_a_mask.png", 0)
    assert all(case.mask is None for case in list_folders(**folders).healthy)


def test_a_broken_box_file_is_found_before_the_work_begins(data):
    (data / "sick" / "p1_b.txt").write_text("0 0.5 0.5 0.5 0.5\n0 1 2\n")
    with pytest.raises(ImageReadError, match=r"p1_b\.txt, line 2"):
        list_folders([data / "normal"], [data / "sick"])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(p", "no regular expression"),
        (r"p\d", "has 0 groups"),
        (r"(p)(\d)", "has 2 groups"),
        (r"(q\d)", r"matches 0 of 4 images; not, for instance, 'normal/deep/p2_a\.png'"),
        (r"(p[13])", "matches 3 of 4"),
    ],
)
def test_patterns_that_do_not_work(data, pattern, message):
    with pytest.raises(ConfigError, match=message):
        list_folders([data / "normal"], [data / "sick"], patient_pattern=pattern)


def test_a_patient_may_stay_unknown(data):
    found = list_folders([data / "normal"], [data / "sick"], patient_pattern=r"(p[13])|$")
    assert [case.patient for case in found.cases] == [None, "p1", "p1", "p3"]
