"""BMAD's folders and the patients in its file names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import ConfigError
from anomalabel.evaluation.datasets import read_dataset
from anomalabel.evaluation.datasets.bmad import read_bmad

CHEST = "ff8d7572-1183-45e4-a1bf-730f58bdb988"


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    return root


def with_masks(root, masks="label"):
    return write(
        root,
        "train/good/img/00003_60.png",
        "train/good/img/00004_61.png",
        "valid/good/img/00025_99.png",
        "valid/Ungood/img/00124_60.png",
        f"valid/Ungood/{masks}/00124_60.png",
        "test/good/img/00000_96.png",
        "test/Ungood/img/00002_60.png",
        f"test/Ungood/{masks}/00002_60.png",
    )


@pytest.mark.parametrize("masks", ["label", "anomaly_mask"])
def test_a_set_with_masks(tmp_path, masks):
    found = read_bmad(with_masks(tmp_path / "Brain", masks))
    assert found.name == "BMAD brain MRI (BraTS 2021)"
    normal, abnormal = found.cases
    assert (normal.identity, normal.abnormal, normal.mask, normal.patient) == (
        "test/good/img/00000_96.png",
        False,
        None,
        "00000",
    )
    assert abnormal.mask == tmp_path / "Brain" / "test" / "Ungood" / masks / "00002_60.png"
    assert (abnormal.abnormal, abnormal.patient) == (True, "00002")
    assert [case.identity for case in found.healthy] == ["train/good/img/00003_60.png", "train/good/img/00004_61.png"]


def test_a_set_without_masks_has_its_images_right_there(tmp_path):
    names = ("train/good/1000.png", "test/good/1000.png", "test/Ungood/100.png")
    found = read_bmad(write(tmp_path / "camelyon16", *names))
    assert found.name == "BMAD histopathology (Camelyon16)"
    assert [case.identity for case in (*found.healthy, *found.cases)] == list(names)
    assert {(case.mask, case.patient) for case in found.cases} == {(None, None)}


def test_copies_without_a_training_part_and_in_other_case(tmp_path):
    names = (
        "valid/good/img/8_332.png",
        "valid/Ungood/img/1_1.png",
        "test/Good/img/8_400.png",
        "test/ungood/img/4_487.png",
    )
    found = read_bmad(write(tmp_path / "Liver_AD", *names))
    assert [case.identity for case in found.healthy] == ["valid/good/img/8_332.png"]
    assert [case.patient for case in (*found.healthy, *found.cases)] == ["8", "8", "4"]


@pytest.mark.parametrize(
    ("folder", "name", "patient", "of_train"),
    [
        ("Brain_AD", "00003_60", "00003", "00003"),
        ("Liver", "4_487", "4", "train 4"),
        ("Retina_RESC", "9_28", "9", "train 9"),
        ("Retina_OCT2017", "NORMAL-5171640-1", "5171640", "5171640"),
        ("RetinaOCT2017_AD", "CNV-6294785-2", "6294785", "6294785"),
        ("Chest", f"Normal-{CHEST}", CHEST, CHEST),
        ("RSNA", f"Lung_Opacity_{CHEST}", CHEST, CHEST),
        ("Histopathology", "1000", None, None),
        ("Brain", "slice60", None, None),
        ("Own", "00003_60", None, None),
    ],
)
def test_patients(tmp_path, folder, name, patient, of_train):
    root = write(tmp_path / folder, f"train/good/{name}.png", f"test/good/{name}.png", f"test/Ungood/{name}.png")
    found = read_bmad(root)
    assert {case.patient for case in found.cases} == {patient}
    assert found.healthy[0].patient == of_train


def test_one_of_several_sets(tmp_path):
    with_masks(tmp_path / "Brain")
    write(tmp_path / "Chest_AD", "train/good/1.png", "test/good/2.png", "test/Ungood/3.png")
    with pytest.raises(ConfigError, match="holds 2 BMAD sets: Brain, Chest_AD"):
        read_dataset(f"bmad:{tmp_path}")
    assert read_dataset(f"bmad:{tmp_path}:chest").name == "BMAD chest X-ray (RSNA)"
    assert read_dataset(f"bmad:{tmp_path}:Chest_AD") == read_dataset(f"bmad:{tmp_path / 'Chest_AD'}")
    with pytest.raises(ConfigError, match="no folder of the set 'liver'"):
        read_dataset(f"bmad:{tmp_path}:liver")


def test_a_folder_with_a_colon_in_its_name(tmp_path):
    write(tmp_path / "at 12:30", "train/good/1.png", "test/good/2.png", "test/Ungood/3.png")
    assert len(read_dataset(f"bmad:{tmp_path / 'at 12:30'}").cases) == 2


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("test/Ungood/img/00002_60.png", "holds no image"),
        ("test/good", "holds no test/good"),
        ("train/good", "holds no train/good"),
        ("test", "no folder of a BMAD set"),
    ],
)
def test_what_is_missing(tmp_path, lost, message):
    root = with_masks(tmp_path / "Brain")
    (root / lost).rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=message):
        read_bmad(root)


def test_a_mask_is_missing(tmp_path):
    write(with_masks(tmp_path / "Brain"), "test/Ungood/img/00009_60.png")
    with pytest.raises(ConfigError, match=r"00009_60\.png has no mask"):
        read_bmad(tmp_path / "Brain")


@pytest.mark.parametrize("text", ["bmad", "bmad:", "other:/data", ""])
def test_what_names_no_data_set(text):
    with pytest.raises(ConfigError, match="names no data set"):
        read_dataset(text)
