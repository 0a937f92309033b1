"""Names and files that a detection leaves behind."""

import json
from dataclasses import replace
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from anomalabel.config import load_config
from anomalabel.errors import OutputError
from anomalabel.finding import FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.outputs import check_folder, check_stems, image_stem, output_paths, write_result
from anomalabel.pipeline import DetectionResult
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.seen_image import SeenImage
from anomalabel.volume import Volume


@pytest.fixture
def result() -> DetectionResult:
    generator = np.random.default_rng(0)
    turn = np.deg2rad(15)
    affine = np.array(
        [
            [-2 * np.cos(turn), 0.7 * np.sin(turn), 0, 12],
            [2 * np.sin(turn), 0.7 * np.cos(turn), 0, -30],
            [0, 0, 4, 5],
            [0, 0, 0, 1],
        ]
    )
    volume = Volume(generator.random((4, 20, 30), dtype=np.float32), affine, source="scan.nii")
    anomaly_map = generator.uniform(-1, 1, volume.shape).astype(np.float32)
    anomaly_map[0] = np.nan
    report = FindingsReport(
        image="scan.nii",
        method="clap",
        model=ModelIdentity(name="tiny", weights_sha256="0" * 64),
        config="brain_mri",
        prompts=PromptTexts(positive=("tumor",), negative=("normal",)),
        image_score=0.5,
        calibrated=False,
        threshold=Threshold(value=0.5, rule="by hand"),
        prompt_specificity=0.3,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(grid=(30, 20, 4), min=float(np.nanmin(anomaly_map)), max=float(np.nanmax(anomaly_map))),
        findings=(),
    )
    return DetectionResult(volume, anomaly_map, report)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan.nii.gz", "scan"),
        ("SCAN.NII.GZ", "SCAN"),
        ("scan.nii", "scan"),
        ("scan.v2.nrrd", "scan.v2"),
        ("x-ray.JPEG", "x-ray"),
        ("slice.dcm", "slice"),
        ("1.2.840.113619.2.5", "1.2.840.113619.2.5"),
        ("IM0001", "IM0001"),
        ("archive.tar.gz", "archive.tar.gz"),
        (".nii", ".nii"),
    ],
)
def test_stems(name, stem):
    assert image_stem(Path("folder") / name) == stem


def test_a_folder_is_called_by_its_name_also_where_one_stands_in_it(tmp_path, monkeypatch):
    study = tmp_path / "study.2"
    (study / "series").mkdir(parents=True)
    assert image_stem(study) == "study.2"
    monkeypatch.chdir(study)
    assert image_stem(Path()) == "study.2"
    assert image_stem(Path("series/..")) == "study.2"


def test_a_link_is_called_by_its_own_name(tmp_path):
    (tmp_path / "ab12").mkdir()
    (tmp_path / "patient").symlink_to(tmp_path / "ab12")
    assert image_stem(tmp_path / "patient") == "patient"


@pytest.fixture
def shown(result) -> DetectionResult:
    """The same detection with saliency and reconstruction."""
    scaled = np.clip(result.volume.array, 0, 1)
    restored = np.where(np.isfinite(result.anomaly_map), 1 - scaled, np.nan).astype(np.float32)
    prepared = PreparedVolume(scaled, np.isfinite(result.anomaly_map))
    return replace(
        result,
        extra_maps={"saliency": result.anomaly_map * 2, "reconstruction": restored},
        seen=SeenImage(result.volume, prepared, load_config("brain_mri")),
    )


def test_three_files_beside_each_other():
    paths = output_paths(Path("out"), Path("a/scan.nii.gz"))
    assert [path.as_posix() for path in (paths.heatmap, paths.findings, paths.overlay)] == [
        "out/scan.heatmap.nrrd",
        "out/scan.findings.json",
        "out/scan.overlay.png",
    ]


def test_images_of_one_stem_are_refused():
    check_stems([Path("a/scan.nii"), Path("a/scan2.nii"), Path("1.2.3"), Path("1.2.4")])
    for other in ("b/scan.nii.gz", "a/scan.png", "a/scan.nii"):
        with pytest.raises(OutputError, match=r"called 'scan'.*different --out folders"):
            check_stems([Path("a/scan.nii"), Path(other)])


def test_a_result_is_written_and_comes_back(result, tmp_path):
    paths = output_paths(tmp_path / "new" / "folder", Path("scan.nii"))
    write_result(result, paths)
    assert sorted(path.name for path in paths.heatmap.parent.iterdir()) == [
        "scan.findings.json",
        "scan.heatmap.nrrd",
        "scan.overlay.png",
    ]
    assert FindingsReport.model_validate_json(paths.findings.read_text()) == result.report
    assert json.loads(paths.findings.read_text())["image"] == "scan.nii"
    with Image.open(paths.overlay) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_the_heatmap_lies_on_the_images_grid(result, tmp_path):
    paths = output_paths(tmp_path, Path("scan.nii"))
    write_result(result, paths)
    values, header = nrrd.read(str(paths.heatmap), index_order="C")
    assert (header["type"], header["encoding"], header["space"]) == ("float", "gzip", "left-posterior-superior")
    np.testing.assert_array_equal(values, result.anomaly_map)
    image = SimpleITK.ReadImage(str(paths.heatmap))
    for index in ((0, 0, 0), (29, 0, 0), (3, 19, 2)):
        expected = result.volume.affine_lps @ (*index, 1)
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected[:3], atol=1e-5)


def test_old_results_are_replaced(result, tmp_path):
    paths = output_paths(tmp_path, Path("scan.nii"))
    paths.findings.write_text("old")
    write_result(result, paths)
    write_result(result, paths)
    assert len(list(tmp_path.iterdir())) == 3
    assert FindingsReport.model_validate_json(paths.findings.read_text()) == result.report


def test_extra_maps_lie_beside_the_heatmap_on_its_grid(shown, tmp_path):
    paths = output_paths(tmp_path, Path("scan.nii"))
    write_result(shown, paths)
    names = ["findings.json", "heatmap.nrrd", "overlay.png", "reconstruction.nrrd", "reconstruction.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"scan.{name}" for name in (*names, "saliency.nrrd")]
    _, of_heatmap = nrrd.read(str(paths.heatmap))
    for name in ("saliency", "reconstruction"):
        values, header = nrrd.read(str(tmp_path / f"scan.{name}.nrrd"), index_order="C")
        np.testing.assert_array_equal(values, shown.extra_maps[name])
        for fact in ("space directions", "space origin"):
            np.testing.assert_array_equal(header[fact], of_heatmap[fact])
    with Image.open(tmp_path / "scan.reconstruction.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height


def test_extra_maps_of_an_earlier_detection_are_removed(shown, result, tmp_path):
    paths = output_paths(tmp_path, Path("scan.nii"))
    write_result(shown, paths)
    write_result(replace(shown, extra_maps={"saliency": shown.extra_maps["saliency"]}), paths)
    assert {path.name for path in tmp_path.glob("*.s*")} == {"scan.saliency.nrrd"}
    assert {path.name for path in tmp_path.glob("*.reconstruction.*")} == {"scan.reconstruction.png"}
    write_result(result, paths)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_where_the_folder_should_be(result, tmp_path, below):
    blocking = tmp_path / "results"
    blocking.write_text("mine")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_folder(blocking / below)
    with pytest.raises(OutputError):
        write_result(result, output_paths(blocking / below, Path("scan.nii")))
    assert blocking.read_text() == "mine"


def test_checking_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_folder(tmp_path / "a" / "b")
    check_folder(Path("relative/b"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_name_that_cannot_be(tmp_path):
    with pytest.raises(OutputError, match="cannot be used"):
        check_folder(tmp_path / ("o" * 300))


def test_a_folder_in_the_place_of_a_result(result, tmp_path):
    paths = output_paths(tmp_path, Path("scan.nii"))
    paths.findings.mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_result(result, paths)
    assert list(tmp_path.glob(".*")) == []
