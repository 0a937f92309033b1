"""`anomalabel explain`: a map on the image's own grid and a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import typer
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from anomalabel.cli.explain import explain
from anomalabel.errors import AnomaLabelError, ImageReadError, ModelError, OutputError, PromptError

AFFINE = np.diag([-3.0, 3.0, 5.0, 1.0])


@pytest.fixture
def run(tiny_clip_folder, tmp_path) -> Callable[..., Result]:
    """The command with the small model, into tmp_path / "out"."""
    app = typer.Typer()
    app.command()(explain)

    def run(*arguments: str | Path) -> Result:
        given = ["--model", tiny_clip_folder, "--device", "cpu", "--out", tmp_path / "out", *arguments]
        return CliRunner().invoke(app, [str(argument) for argument in given])

    return run


@pytest.fixture
def scan(tmp_path) -> Path:
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in (40, 44, 4)), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    voxels = tissue * (400 + 30 * np.random.default_rng(0).standard_normal(tissue.shape))
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), AFFINE), path)
    return path


@pytest.mark.parametrize("variant", ["grad_cam", "grad_cam++"])
def test_map_and_picture(run, scan, tmp_path, variant) -> None:
    result = run(scan, "--variant", variant, "--positive", "glioma", "--negative", "normal brain")
    assert result.exit_code == 0, result.exception
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan.gradcam.nrrd", "scan.gradcam.png"]
    values, header = nrrd.read(str(tmp_path / "out" / "scan.gradcam.nrrd"))
    assert values.shape == (40, 44, 4)
    assert values.dtype == np.float32
    np.testing.assert_allclose(header["space directions"], np.diag([3.0, -3.0, 5.0]), err_msg="LPS")
    assert np.isnan(values[0, 0]).all(), "air"
    assert np.nanmin(values) >= 0
    assert np.nanmax(values) in (0, 1)
    assert ("map is empty" in result.output) == (np.nanmax(values) == 0)
    with Image.open(tmp_path / "out" / "scan.gradcam.png") as picture:
        assert picture.width > picture.height, "three planes beside each other"


def test_the_map_follows_the_texts(run, scan, tmp_path) -> None:
    maps = []
    for positive, negative in (("glioma", "normal"), ("normal", "glioma")):
        assert run(scan, "--positive", positive, "--negative", negative).exit_code == 0
        maps.append(np.nan_to_num(nrrd.read(str(tmp_path / "out" / "scan.gradcam.nrrd"))[0]))
    assert not np.allclose(*maps)


def test_words_that_the_model_never_saw_are_named(run, scan) -> None:
    result = run(scan, "--positive", "pneumothorax", "--negative", "normal")
    assert "never saw these words: pneumothorax" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("missing.nii",), ImageReadError, "missing.nii"),
        (("scan.nii.gz", "--positive", " "), PromptError, "positive prompt is empty"),
        (("scan.nii.gz", "--layer", "map"), ModelError, "no map"),
        (("scan.nii.gz", "--model", "nowhere"), ModelError, "no model 'nowhere'"),
        (("scan.nii.gz", "--out", "scan.nii.gz"), OutputError, "is a file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(run, scan, monkeypatch, arguments, error, words) -> None:
    monkeypatch.chdir(scan.parent)
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert isinstance(result.exception, AnomaLabelError)
    assert words in str(result.exception)
    assert not (scan.parent / "out").exists()
