"""From a manifest of pictures to a model that the package loads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.backbones.loading import load_model
from anomalabel.errors import ConfigError
from anomalabel.training import embedded
from anomalabel.training.embedded import EmbeddedTraining, train_embedded
from anomalabel.training.images import BatchMaker, BatchPlan, TrainingImages
from anomalabel.training.manifest import COLUMNS, load_training_images, read_manifest

PLAN = BatchPlan(singles={("brain", "glioma"): 2}, planted={"brain": 1}, crops={"brain": 1})
SMALL = EmbeddedTraining(minutes=0.05, width=32, depth=9, heads=2, embedding=16, text_width=64, text_depth=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        rows.append((folder / f"{number}.png", "", boxes, "brain", "MRI", condition, part))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def images(manifest: Path) -> TrainingImages:
    return load_training_images(manifest, lambda done, total: None)


def test_lesion_boxes_travel_with_their_images(images: TrainingImages) -> None:
    assert images.condition.tolist() == ["glioma", "glioma", "healthy", "healthy"], "kept_apart is not read"
    assert images.image.shape == (4, 224, 224)
    assert images.located.all()
    inside = images.lesion[0] > 127
    assert images.image[0][inside].mean() > 240
    assert images.image[0][~inside].max() < 255
    assert not images.lesion[2:].any()


def test_batches_hold_the_same_image_with_and_without_its_lesion(images: TrainingImages) -> None:
    batch = BatchMaker(images, PLAN, seed=0).draw()
    assert batch.images.shape == (6, 224, 224)
    assert batch.diseased.tolist() == [1, 1, 0, 1, 0, 1]
    assert batch.clean.tolist() == [2, 4]
    assert batch.planted.tolist() == [3, 5]
    healthy, planted = batch.images[2], batch.images[3]
    outside = batch.lesion[3] < 1e-3
    assert (healthy - planted).abs()[outside].median() < 0.03
    assert (healthy - planted).abs()[batch.lesion[3] > 0.5].mean() > 0.05
    assert not batch.lesion[2].any()
    assert batch.captions[2] == batch.negative[2]
    assert batch.captions[3] == batch.positive[3]


def test_training_writes_a_model_that_loads_and_goes_on(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PLAN", PLAN)
    seen: list[dict[str, float]] = []
    train_embedded(images, tmp_path / "first", SMALL, lambda part, losses: seen.append(losses))
    assert {"text", "caption", "status", "pair", "patch"} <= set().union(*seen)
    first = load_model(str(tmp_path / "first"), "cpu")
    assert first.unknown_words(["a glioma", "xylophone"]) == ("xylophone",)
    train_embedded(images, tmp_path / "second", SMALL, lambda part, losses: None, start=tmp_path / "first")
    second = load_model(str(tmp_path / "second"), "cpu")
    assert second.identity.weights_sha256 != first.identity.weights_sha256
    before, after = (model.encode_texts(["a glioma"])[0] for model in (first, second))
    assert float(before @ after) > 0.5, "it went on from the first"


def test_a_manifest_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("picture,label\n")
    with pytest.raises(ConfigError, match="picture"):
        read_manifest(tmp_path / "other.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_manifest(tmp_path / "missing.csv")
