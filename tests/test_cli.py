"""The command line: three files for a good image, one line and exit code 2 for a bad one."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from anomalabel import cli

AFFINE = np.diag([-3.0, 3.0, 5.0, 1.0])
MESSAGE = re.compile(r"error: \S.*\.")


class Run:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def anomalabel(monkeypatch, capsys) -> Callable[..., Run]:
    """The command line in this process, as wide as it likes."""
    monkeypatch.setenv("COLUMNS", "500")

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["anomalabel", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Run(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def detect(anomalabel, tiny_clip_folder, tmp_path) -> Callable[..., Run]:
    """`anomalabel detect` with the small model, into tmp_path / "out"."""

    def detect(*arguments: str | Path) -> Run:
        chosen = [] if "--model" in arguments else ["--model", tiny_clip_folder]
        return anomalabel("detect", *arguments, *chosen, "--out", tmp_path / "out", "--device", "cpu")

    return detect


def head(shape=(40, 44, 4)) -> np.ndarray:
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    return (tissue * (400 + 30 * np.random.default_rng(0).standard_normal(shape))).astype(np.float32)


@pytest.fixture
def scan(tmp_path) -> Path:
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head(), AFFINE), path)
    return path


def assert_refused(run: Run, out: Path, *words: str) -> None:
    """One line on stderr that holds the words, exit code 2, nothing written."""
    assert run.code == 2
    assert MESSAGE.fullmatch(run.err.strip("\n")), run.err
    for word in words:
        assert word in run.err
    assert not out.exists()


def saved(path: Path, voxels: np.ndarray, affine=AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.nii.gz"


def empty(folder: Path) -> Path:
    (folder / "empty.nii.gz").touch()
    return folder / "empty.nii.gz"


def truncated(folder: Path) -> Path:
    path = saved(folder / "truncated.nii.gz", head())
    path.write_bytes(path.read_bytes()[:-200])
    return path


def corrupt(folder: Path) -> Path:
    path = saved(folder / "corrupt.nii.gz", head())
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    path.write_bytes(whole)
    return path


def text(folder: Path) -> Path:
    (folder / "text.nii").write_text("These are not voxels. " * 40)
    return folder / "text.nii"


def four_axes(folder: Path) -> Path:
    return saved(folder / "series.nii", np.random.default_rng(0).random((8, 8, 8, 5)))


def no_voxel(folder: Path) -> Path:
    path = saved(folder / "nothing.nii", head())
    whole = bytearray(path.read_bytes())
    whole[42:44] = bytes(2)
    path.write_bytes(whole)
    return path


def constant(folder: Path) -> Path:
    return saved(folder / "constant.nii", np.full((20, 20, 4), 7.0))


def no_number(folder: Path) -> Path:
    return saved(folder / "nan.nii", np.full((20, 20, 4), np.nan))


def more_than_memory(folder: Path) -> Path:
    path = saved(folder / "huge.nii.gz", head())
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[42:48] = np.array([32000] * 3, dtype="<i2").tobytes()
    path.write_bytes(gzip.compress(whole))
    return path


def no_picture(folder: Path) -> Path:
    path = folder / "x-ray.png"
    Image.fromarray(np.arange(6000, dtype=np.uint8).reshape(60, 100)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    return path


def empty_folder(folder: Path) -> Path:
    (folder / "study").mkdir()
    return folder / "study"


def name_too_long(folder: Path) -> Path:
    return folder / ("n" * 300 + ".nii")


BAD_IMAGES = {
    missing: "does not exist",
    empty: "is empty",
    truncated: "truncated or corrupt",
    corrupt: "truncated or corrupt",
    text: "none of the known contents",
    four_axes: "4 axes",
    no_voxel: "holds no voxel",
    constant: "is constant",
    no_number: "no finite voxel",
    more_than_memory: "memory",
    no_picture: "truncated or corrupt",
    empty_folder: "no DICOM image",
    name_too_long: "cannot be read",
}


@pytest.mark.parametrize("make", BAD_IMAGES, ids=lambda make: make.__name__)
def test_bad_images(detect, tmp_path, make):
    image = make(tmp_path)
    assert_refused(detect(image), tmp_path / "out", image.name, BAD_IMAGES[make])


def test_an_image_inside_a_file(detect, scan, tmp_path):
    assert_refused(detect(scan / "inside.nii"), tmp_path / "out", "does not exist")


def config_file(folder: Path, content: str) -> Path:
    (folder / "mine.yaml").write_text(content)
    return folder / "mine.yaml"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: mine\ntitle: T\nanatomy: a\nmodality: m\nprompts: {}\nlayr: 3\n", ["mine.yaml", "layr: unknown key"]),
        ("name: mine\nattention: {layr: 3}\n", ["mine.yaml", "attention.layr: unknown key"]),
        ("name: [1,\n  2\n", ["mine.yaml", "not valid YAML"]),
        ("just a text", ["mine.yaml", "no settings"]),
        ("name: mine\ntitle: T\nanatomy: a\nmodality: m\nprompts: {}\n", ["no positive prompt"]),
    ],
)
def test_bad_configs(detect, scan, tmp_path, content, words):
    assert_refused(detect(scan, "--config", config_file(tmp_path, content)), tmp_path / "out", *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "knee"], ["no config 'knee'", "brain_mri"]),
        (["--config", "no such.yaml"], ["no such.yaml"]),
        (["--model", "unheard_of"], ["no model 'unheard_of'", "models list"]),
        (["--model", "biomedclip"], ["no model 'biomedclip'", "models pull biomedclip"]),
        (["--positive", ""], ["positive prompt is empty"]),
        (["--negative", " "], ["negative prompt is empty"]),
        (["--positive", "a {colour} spot"], ["{colour}"]),
        (["--positive", "{anatomy:>99}"], ["format"]),
        (["--positive", "[/bold] {"], ["[/bold] {", "unmatched braces"]),
        (["--positive", "tumor\udcff"], ["tumor\\udcff"]),
        (["--positive", "two\nlines }"], ["two lines }"]),
        (["--positive", "brain " * 70], ["tokens", "reads 64", "Shorten it"]),
        (["--threshold-sd", "nan"], ["threshold_sd", "finite"]),
        (["--threshold-sd", "inf"], ["threshold_sd", "finite"]),
        (["--minimum-volume-mm3", "-1"], ["minimum_volume_mm3"]),
        (["--minimum-volume-mm3", "nan"], ["minimum_volume_mm3"]),
        (["--samples", "0"], ["samples"]),
        (["--samples", "100000"], ["samples"]),
        (["--seed", "-1"], ["seed"]),
        (["--extra", "gradient"], ["extra_maps", "'saliency' or 'reconstruction'"]),
        (["--extra", "saliency"], ["method clap has no saliency map to show"]),
        (["--extra", "saliency", "--extra", "reconstruction"], ["no saliency or reconstruction map to show"]),
        (["--series", "1.2.3"], ["scan.nii.gz is no DICOM file"]),
    ],
)
def test_bad_arguments(detect, scan, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("ANOMALABEL_MODELS", str(tmp_path / "models"))
    assert_refused(detect(scan, *arguments), tmp_path / "out", *words)


def test_a_device_that_is_not_there(anomalabel, scan, tmp_path):
    run = anomalabel("detect", scan, "--out", tmp_path / "out", "--device", "cuda:99")
    assert_refused(run, tmp_path / "out", "cuda:99")


def test_a_model_folder_without_weights(detect, scan, tmp_path):
    (tmp_path / "model").mkdir()
    run = detect(scan, "--model", tmp_path / "model")
    assert_refused(run, tmp_path / "out", "holds no open_clip_config.json")


def test_two_images_of_one_name(detect, scan, tmp_path):
    (tmp_path / "other").mkdir()
    other = saved(tmp_path / "other" / "scan.nii", head())
    assert_refused(detect(scan, other), tmp_path / "out", "called 'scan'", "--out")


def test_a_file_where_the_results_should_go(anomalabel, scan, tmp_path):
    (tmp_path / "results").write_text("mine")
    run = anomalabel("detect", scan, "--out", tmp_path / "results")
    assert_refused(run, tmp_path / "out", "results is a file")
    assert (tmp_path / "results").read_text() == "mine"


def test_images_after_a_bad_image_are_looked_at_all_the_same(detect, scan, tmp_path):
    ended = detect(tmp_path / "missing.nii.gz", scan, tmp_path / "gone.nii.gz")
    assert ended.code == 2
    assert "missing.nii.gz" in ended.err
    assert "gone.nii.gz" in ended.err
    assert len(ended.err.splitlines()) == 1
    written = sorted(path.name.split(".", 1)[1] for path in (tmp_path / "out").iterdir())
    assert written == ["findings.json", "heatmap.nrrd", "overlay.png"]


def test_results_before_a_bad_image_are_kept(detect, scan, tmp_path):
    run = detect(scan, missing(tmp_path))
    assert run.code == 2
    assert run.err.count("\n") == 1
    assert (tmp_path / "out" / "scan.findings.json").is_file()


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_traceback_only_on_demand(anomalabel, tmp_path, place):
    arguments = ["detect", missing(tmp_path), "--out", tmp_path / "out"]
    assert "Traceback" not in anomalabel(*arguments).err
    run = anomalabel(*arguments[:place], "--debug", *arguments[place:])
    assert run.code == 2
    assert "Traceback (most recent call last)" in run.err
    assert MESSAGE.fullmatch(run.err.strip().splitlines()[-1])


def test_three_files_for_a_scan(detect, scan, tmp_path):
    run = detect(scan, "--seed", "3", "--positive", "tumor", "--positive", "{condition}", "--minimum-volume-mm3", "0")
    assert (run.code, run.err) == (0, "")
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "scan.findings.json",
        "scan.heatmap.nrrd",
        "scan.overlay.png",
    ]
    report = json.loads((out / "scan.findings.json").read_text())
    assert report["prompts"]["positive"] == ["tumor", "glioma", "astrocytoma", "oligodendroglioma"]
    assert report["model"]["name"] == "tiny"
    heatmap, source = (SimpleITK.ReadImage(str(path)) for path in (out / "scan.heatmap.nrrd", scan))
    assert heatmap.GetSize() == source.GetSize()
    for fact in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(heatmap, fact)(), getattr(source, fact)(), atol=1e-5)
    score = f"image score {report['image_score']:.2f}, not calibrated"
    assert f"scan.nii.gz: {score}; {len(report['findings'])} findings, {out / 'scan.overlay.png'}" in run.out
    for warning in report["warnings"]:
        assert warning in run.out


def test_several_images_of_different_kinds(detect, scan, tmp_path):
    picture = tmp_path / "x-ray.png"
    Image.fromarray(np.clip(head()[:, :, 2] / 3, 0, 255).astype(np.uint8)).save(picture)
    assert detect(scan, picture, "--method", "plp", "--planes", "all").code == 0
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.json"))]
    assert [(report["image"], report["method"]) for report in reports] == [("scan.nii.gz", "plp"), ("x-ray.png", "plp")]


def test_brackets_in_a_name_are_shown_as_they_are(detect, scan, tmp_path):
    odd = scan.rename(tmp_path / "scan [red] $x_$.nii.gz")
    run = detect(odd)
    assert run.code == 0
    assert "scan [red] $x_$.nii.gz: " in run.out
    assert_refused(detect(tmp_path / "[red] [/x].nii"), tmp_path / "nowhere", "[red] [/x].nii does not exist")


def write_slices(folder: Path, series: str, count: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    voxels = head((40, 44, count))
    for index in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"{series}.{index}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        data.is_little_endian, data.is_implicit_VR = True, False
        data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CTImageStorage, f"{series}.{index}", series
        data.Modality, data.Rows, data.Columns = "MR", 44, 40
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 5.0 * index], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [3.0, 3.0], 5.0
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = voxels[:, :, index].T.clip(0).astype(np.uint16).tobytes()
        pydicom.dcmwrite(folder / f"{series}.{index}", data, write_like_original=False)


def test_a_dicom_folder_with_two_series(detect, tmp_path):
    study = tmp_path / "study"
    write_slices(study, "1.2.3")
    write_slices(study, "1.2.4", count=5)
    assert_refused(detect(study), tmp_path / "out", "1.2.3 (MR", "1.2.4 (MR", "--series")
    assert_refused(detect(study, "--series", "9.9"), tmp_path / "out", "no series 9.9", "1.2.3 (MR")
    assert detect(study, "--series", "1.2.4").code == 0
    report = json.loads((tmp_path / "out" / "study.findings.json").read_text())
    assert (report["image"], report["heatmap"]["grid"]) == ("study", [40, 44, 5])


def test_the_folder_one_stands_in(detect, tmp_path, monkeypatch):
    write_slices(tmp_path / "series 7", "1.2.3")
    monkeypatch.chdir(tmp_path / "series 7")
    assert detect(Path()).code == 0
    assert json.loads((tmp_path / "out" / "series 7.findings.json").read_text())["image"] == "series 7"


def test_list_of_models(anomalabel, tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALABEL_MODELS", str(tmp_path))
    run = anomalabel("models", "list")
    assert run.code == 0
    assert re.search(r"embedded\s.*embedded_weights", run.out)
    assert re.search(r"biomedclip\s.*not pulled: anomalabel models pull biomedclip", run.out)


def test_pulling_a_folder_checking_and_using_it(anomalabel, detect, scan, tiny_clip_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ANOMALABEL_MODELS", str(tmp_path / "models"))
    assert anomalabel("models", "pull", "OWNER/some", "--from", tiny_clip_folder, "--as", "mine").code == 0
    assert re.search(r"mine\s.*models/mine", anomalabel("models", "list").out)
    facts = anomalabel("models", "check", "mine", "--device", "cpu")
    assert facts.code == 0
    assert re.search(r"name\s.*mine", facts.out)
    assert re.search(r"grid\s.*\(4, 4\)", facts.out)
    assert detect(scan, "--model", "mine").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "unheard_of"], ["no model 'unheard_of'"]),
        (["pull", "mine", "--from", "/nowhere"], ["/nowhere holds no open_clip_config.json"]),
        (["pull", "biomedclip", "--from", ".", "--as", "../x"], ["'../x' cannot be the name"]),
    ],
)
def test_models_that_are_not_there(anomalabel, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("ANOMALABEL_MODELS", str(tmp_path / "models"))
    assert_refused(anomalabel("models", *arguments), tmp_path / "models" / "mine", *words)


@pytest.mark.parametrize(
    "command",
    [[], ["detect"], ["models"], ["models", "pull"], ["serve"], ["demo"], ["train"], ["train", "reconstruction"]],
)
def test_help(anomalabel, command):
    run = anomalabel(*command, "--help")
    assert run.code == 0
    assert f"anomalabel {' '.join(command)}".strip() in run.out


def test_help_waits_for_no_heavy_library():
    code = "import sys, anomalabel.cli; print(sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert ended.stdout == "[]\n"


def test_version(anomalabel):
    assert anomalabel("--version").out.strip() == cli.__version__


def test_the_installed_command_says_one_line_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "anomalabel.cli", "detect", missing(tmp_path), "--out", tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "80"})
    assert_refused(Run(ended.returncode, ended.stdout, ended.stderr), tmp_path / "out", "missing.nii.gz does not exist")
    assert ended.stdout == ""
