from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import ConfigError
from anomalabel.training.images import TrainingImages
from anomalabel.training.manifest import COLUMNS, load_training_images, read_manifest

GOOD = ("picture.png", "", "", "brain", "MRI", "healthy", "train")


def write(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path


def load(path: Path) -> TrainingImages:
    return load_training_images(path, lambda done, total: None)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    """Two heads with a boxed lesion, two healthy ones, one kept apart."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number, (condition, part) in enumerate(
        [("glioma", "train"), ("glioma", "train"), ("healthy", "train"), ("healthy", "train"), ("glioma", "kept_apart")]
    ):
        pixels = np.zeros((96, 96), dtype=np.uint8)
        pixels[8:88, 16:80] = 120 + np.random.default_rng(number).integers(0, 20, (80, 64))
        boxes = ""
        if condition == "glioma":
            pixels[24:36, 24:36] = 250
            boxes = str(folder / f"{number}.txt")
            Path(boxes).write_text("0 0.3125 0.3125 0.125 0.125\n")
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append((str(folder / f"{number}.png"), "", boxes, "brain", "MRI", condition, part))
    return load(write(folder / "manifest.csv", rows))


def test_lesion_boxes_travel_with_their_images(images: TrainingImages) -> None:
    assert images.condition.tolist() == ["glioma", "glioma", "healthy", "healthy"], "kept_apart is not read"
    assert images.image.shape == (4, 224, 224)
    assert images.located.all()
    inside = images.lesion[0] > 127
    assert images.image[0][inside].mean() > 240
    assert images.image[0][~inside].max() < 255
    assert not images.lesion[2:].any()


def test_slices_of_a_volume_are_sick_where_the_mask_is(tmp_path: Path) -> None:
    head = np.zeros((40, 40, 8), dtype=np.float32)
    head[4:36, 4:36] = 100 + np.random.default_rng(0).random((32, 32, 8))
    mask = np.zeros(head.shape, dtype=np.uint8)
    mask[8:14, 20:30, 5] = 1
    head[mask > 0] = 180
    for name, array in (("head", head), ("mask", mask)):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([4.0, 4.0, 20.0, 1.0])), tmp_path / f"{name}.nii")
    row = (str(tmp_path / "head.nii"), str(tmp_path / "mask.nii"), "", "brain", "MRI", "multiple sclerosis", "train")
    images = load(write(tmp_path / "manifest.csv", [row]))
    assert set(images.plane.tolist()) == {"axial", "coronal", "sagittal"}
    assert (images.plane == "axial").sum() == 8
    sick = images.condition == "multiple sclerosis"
    assert sick.tolist() == images.lesion.any(axis=(1, 2)).tolist()
    assert [(sick & (images.plane == plane)).sum() for plane in ("axial", "coronal", "sagittal")] == [1, 10, 6]
    assert images.located.all(), "the mask says where there is nothing, too"


def test_a_disease_without_box_or_mask_has_no_known_place(tmp_path: Path) -> None:
    Image.fromarray(np.eye(40, dtype=np.uint8) * 90).save(tmp_path / "chest.png")
    row = (str(tmp_path / "chest.png"), "", "", "chest", "X-ray", "pneumonia", "train")
    images = load(write(tmp_path / "manifest.csv", [row]))
    assert images.located.tolist() == [False]
    assert images.condition.tolist() == ["pneumonia"]
    assert images.plane.tolist() == [""]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"picture,label\n", "has the columns .*picture"),
        (b"", "has the columns"),
        (b"\xff\xfe\x00", "no CSV in UTF-8"),
        (",".join(COLUMNS).encode() + b"\na.png,,,brain,MRI\n", "Image 1 .* has not 7 values"),
        (",".join(COLUMNS).encode() + b"\na.png,,,brain,MRI,healthy,train,more\n", "Image 1 .* has not 7 values"),
    ],
)
def test_files_that_are_no_manifest(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "other.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        read_manifest(tmp_path / "other.csv")


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_manifest(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("anatomy", "knee", "'knee' of picture.png is none of brain, breast, chest"),
        ("modality", "CT", "'CT' of picture.png is none of MRI, ultrasound, X-ray"),
        ("condition", "pneumonia", "'pneumonia' of picture.png is none of healthy, glioma"),
        ("part", "test", "has no image of part 'train'"),
    ],
)
def test_words_that_no_caption_has(tmp_path: Path, column: str, value: str, complaint: str) -> None:
    row = tuple(value if name == column else given for name, given in zip(COLUMNS, GOOD, strict=True))
    with pytest.raises(ConfigError, match=complaint):
        load(write(tmp_path / "manifest.csv", [row]))
