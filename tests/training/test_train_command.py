"""`anomalabel train embedded`: a model from a manifest, one line and exit code 2 for bad input."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel import cli
from anomalabel.backbones.loading import load_model
from anomalabel.training.manifest import COLUMNS

KINDS = {
    "brain": ("MRI", ("glioma", "meningioma", "pituitary", "multiple sclerosis", "healthy")),
    "breast": ("ultrasound", ("benign", "malignant", "healthy")),
    "chest": ("X-ray", ("pneumonia", "healthy")),
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture of each kind that a batch holds."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "box.txt").write_text("0 0.3 0.3 0.1 0.1\n")
    rows = []
    for anatomy, (modality, conditions) in KINDS.items():
        for condition in conditions:
            path = folder / f"{anatomy} {condition}.png"
            pixels = np.random.default_rng(len(rows)).integers(60, 200, (48, 48), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            boxes = "" if condition in ("healthy", "pneumonia") else str(folder / "box.txt")
            rows.append((path, "", boxes, anatomy, modality, condition, "train"))
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return folder / "manifest.csv"


@pytest.fixture
def train(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command's exit code and what it says, into tmp_path / "out"."""
    monkeypatch.setenv("COLUMNS", "500")

    def run(*options: str, out: Path = tmp_path / "out") -> tuple[int, str]:
        given = ["--manifest", str(manifest), "--out", str(out), "--device", "cpu", *options]
        monkeypatch.setattr(sys, "argv", ["anomalabel", "train", "embedded", *given])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + captured.err

    return run


def test_a_model_from_a_manifest(train: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, said = train("--text-steps", "1", "--align-steps", "0", "--leave-out", "chest", "--seed", "3")
    assert code == 0, said
    assert "written:" in said
    model = load_model(str(tmp_path / "out"), "cpu")
    assert (model.side, model.tower.grid) == (224, (14, 14))
    assert (tmp_path / "out" / "curves.png").is_file()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--leave-out", "knee"], "'knee' cannot be left out of brain, breast, chest."),
        (["--teacher", "unheard_of"], "timm knows no network 'unheard_of'."),
        (["--teacher", "resnet10t@/nowhere.bin"], "There is no weights file"),
        (["--manifest", "/nowhere.csv"], "The manifest /nowhere.csv cannot be read"),
        (["--device", "tpu"], "tpu"),
        (["--align-steps", "-1"], "'--align-steps'"),
        (["--seed", "-1"], "'--seed'"),
    ],
)
def test_bad_input_ends_with_exit_code_2_before_anything_is_written(
    train, tmp_path: Path, options: list[str], complaint: str
) -> None:
    code, said = train("--text-steps", "0", "--align-steps", "0", *options)
    assert code == 2
    assert complaint in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(train, manifest: Path) -> None:
    code, said = train(out=manifest / "model")
    assert code == 2
    assert "is a file, not a folder" in said
