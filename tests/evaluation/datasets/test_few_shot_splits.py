"""Split files of few-shot papers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.datasets import read_dataset
from anomalabel.evaluation.datasets.few_shot_splits import read_split

TRAIN = [{"filename": "train/normal/normal_0.jpg", "label": 0, "label_name": "normal", "clsname": "normal"}]
TEST = [
    {"filename": "test/normal/normal_41.jpg", "label": 0, "label_name": "normal", "clsname": "normal"},
    {
        "filename": "test/abnormal/benign_194.jpg",
        "label": 1,
        "label_name": "abnormal",
        "clsname": "benign",
        "mask": "test/ground_true/benign_mask_194.jpg",
    },
    {"filename": "test/abnormal/02639.jpg", "label": 1, "label_name": "abnormal", "clsname": "abnormal"},
]


def write(root, train=TRAIN, test=TEST, samples="samples", images="images"):
    for line in [*train, *test]:
        for name in (line["filename"], line.get("mask"), line.get("maskname")):
            if name:
                path = root / images / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    (root / samples).mkdir(parents=True, exist_ok=True)
    for name, lines in (("train.json", train), ("test.json", test)):
        (root / samples / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.mark.parametrize(("samples", "images"), [("samples", "images"), (".", "."), (".", "images")])
def test_the_published_format(tmp_path, samples, images):
    root = write(tmp_path / "busi", samples=samples, images=images)
    found = read_dataset(f"split:{root}")
    assert found.name == "busi"
    names = [line["filename"] for line in TEST]
    mask = root / images / "test/ground_true/benign_mask_194.jpg"
    assert found.cases == (
        EvaluationCase(names[0], root / images / names[0], False),
        EvaluationCase(names[1], root / images / names[1], True, mask),
        EvaluationCase(names[2], root / images / names[2], True),
    )
    assert found.healthy == (
        EvaluationCase("train/normal/normal_0.jpg", root / images / "train/normal/normal_0.jpg", False),
    )


def test_older_masks_and_patients(tmp_path):
    line = {"filename": "b.png", "label": 1, "maskname": "b_mask.png", "patient": "p7"}
    case = read_split(write(tmp_path, test=[line])).cases[0]
    assert case.mask == tmp_path / "images" / "b_mask.png"
    assert case.patient == "p7"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"test\.json, line 2 is no image of a split"),
        ('{"filename": "a.png"}', "label: Field required"),
        ('{"filename": "a.png", "label": 2}', "label: "),
        ('{"filename": "nowhere.png", "label": 0}', r"nowhere\.png, which .*test\.json, line 2 names, does not exist"),
        ('{"filename": "test/normal/normal_41.jpg", "label": 0}', "listed twice"),
        ('{"filename": "train/normal/normal_0.jpg", "label": 0}', "listed twice"),
        ('{"filename": "", "label": 0}', "filename: "),
    ],
)
def test_broken_lines(tmp_path, line, message):
    root = write(tmp_path, test=TEST[:1])
    with (root / "samples" / "test.json").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(ConfigError, match=message):
        read_split(root)


def test_shots_are_healthy(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.json lists 1 abnormal images, for instance test/abnormal/02639"):
        read_split(write(tmp_path, train=[*TRAIN, TEST[2]], test=TEST[:2]))


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.json does not exist"):
        read_split(tmp_path)
    with pytest.raises(ConfigError, match=r"test\.json lists no image"):
        read_split(write(tmp_path, test=[]))
