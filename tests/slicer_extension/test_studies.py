"""Studies of the server in the scene: each kind of file lands where another reader puts it."""

from __future__ import annotations

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
import slicer
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.scene.geometry import ijk_to_ras, same_grid
from AnomaLabelLib.scene.runs import add_run
from AnomaLabelLib.scene.studies import find_study, load_study
from AnomaLabelLib.scene.volume_files import is_left_handed
from AnomaLabelLib.server.client import StudyFile
from example_results import affine, finding, inference_result, nrrd_bytes, volume_node
from PIL import Image

SERVER = "http://127.0.0.1:8000"


def nifti_bytes(values: np.ndarray, matrix: np.ndarray, tmp_path) -> bytes:
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values.T, matrix), path)
    return path.read_bytes()


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_result_fits_its_study_whatever_the_handedness(scene, tmp_path, flips):
    matrix = affine((10, 20, 30), (1, 2, 3), (4, 5, 6), flips)
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    study = load_study(scene, SERVER, StudyFile("head", "head.nii.gz", nifti_bytes(values, matrix, tmp_path)))
    run = add_run(scene, inference_result(values, matrix, [finding(matrix, (1, 1, 0), (3, 2, 1))]), study, "run")
    np.testing.assert_allclose(ijk_to_ras(run.heatmap), matrix, atol=1e-4)
    world = matrix @ [4, 1, 2, 1]
    i, j, k = np.linalg.solve(ijk_to_ras(study), world)[:3].round().astype(int)
    assert slicer.util.arrayFromVolume(study)[k, j, i] == values[2, 1, 4]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("kind", ["sform", "qform", "big", "nrrd", "left-anterior-superior", "RAS"])
def test_a_study_keeps_the_voxel_order_of_its_file(scene, tmp_path, flips, kind):
    matrix = affine((10, 20, 30), (1, 2, 3), (4, 5, 6), flips)
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    name, content = study_file(values, matrix, kind, tmp_path)
    study = load_study(scene, SERVER, StudyFile("head", name, content))
    np.testing.assert_allclose(ijk_to_ras(study), matrix, atol=1e-4)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(study), values)


def study_file(values: np.ndarray, matrix: np.ndarray, kind: str, tmp_path) -> tuple[str, bytes]:
    """Name and content of an image whose header tells its place in one of several ways."""
    if kind == "nrrd":
        return "head.nrrd", nrrd_bytes(values, matrix)
    if kind in {"left-anterior-superior", "RAS"}:
        turn = np.diag([1.0 if kind == "RAS" else -1.0, 1.0, 1.0])
        header = {
            "space": kind,
            "space directions": (turn @ matrix[:3, :3]).T,
            "space origin": turn @ matrix[:3, 3],
        }
        nrrd.write(str(tmp_path / "head.nrrd"), values.T, header)
        return "head.nrrd", (tmp_path / "head.nrrd").read_bytes()
    made = nibabel.Nifti1Image(values.T, matrix)
    if kind == "big":
        made = nibabel.Nifti1Image(values.T, matrix, nibabel.Nifti1Header(endianness=">"))
    if kind == "qform":
        made.set_qform(matrix, 1)
        made.set_sform(None, 0)
    name = "head.nii" if kind == "big" else "head.nii.gz"
    nibabel.save(made, tmp_path / name)
    return name, (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"NRRD0005\n", b"\x1f\x8b no gzip", b"NRRD0005\nspace: RAS\nspace directions: (a,b,c) none\n\n"]
)
def test_a_header_that_tells_no_handedness_says_none(content):
    assert not is_left_handed(content)


def test_grids_that_only_look_alike_are_told_apart(scene):
    matrix = affine((0, 0, 0), (1, 1, 1), (0, 0, 0))
    turned = affine((0, 0, 90), (1, 1, 1), (5, 0, 0))
    values = np.zeros((3, 5, 5), np.float32)
    moved = affine((0, 0, 0), (1, 1, 1), (0, 0, 1), (1, 1, -1))
    first = volume_node(scene, values, matrix)
    assert not same_grid(first, volume_node(scene, values, turned))
    assert not same_grid(first, volume_node(scene, values, moved))
    reversed_k = affine((0, 0, 0), (1, 1, 1), (0, 0, 2), (1, 1, -1))
    assert same_grid(first, volume_node(scene, values, reversed_k))


@pytest.mark.parametrize(
    ("name", "kind", "channels"),
    [
        ("a.png", np.uint8, 1),
        ("a.png", np.uint16, 1),
        ("a.PNG", np.uint8, 3),
        ("a.png", np.uint8, 4),
        ("a.tif", np.uint8, 1),
        ("a.tiff", np.uint8, 3),
    ],
)
def test_pictures_lie_as_itk_lays_them(scene, tmp_path, name, kind, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 9, channels)).astype(kind)
    path = tmp_path / name.lower()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    study = load_study(scene, SERVER, StudyFile("a", name, path.read_bytes()))
    grey = pixels[..., 0] if channels == 1 else pixels[..., :3] @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(slicer.util.arrayFromVolume(study)[0], grey, atol=1e-3)
    image = SimpleITK.ReadImage(str(path))
    last = image.TransformIndexToPhysicalPoint((8, 5))
    np.testing.assert_allclose((ijk_to_ras(study) @ [8, 5, 0, 1])[:3], [-last[0], -last[1], 0])


def test_a_jpeg_is_read_upright(scene, tmp_path):
    pixels = np.zeros((40, 60), np.uint8)
    pixels[:10, :20] = 255
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    study = load_study(scene, SERVER, StudyFile("a", "a.jpg", path.read_bytes()))
    assert slicer.util.arrayFromVolume(study)[0, 2, 2] > 240
    assert slicer.util.arrayFromVolume(study)[0, 35, 2] < 15


def test_a_study_is_found_again_by_server_and_id(scene):
    content = nrrd_bytes(np.ones((2, 3, 4), np.float32), np.eye(4))
    study = load_study(scene, SERVER, StudyFile("head", "head.nrrd", content))
    assert find_study(scene, SERVER, "head") is study
    assert find_study(scene, SERVER, "other") is None
    assert find_study(scene, "http://127.0.0.1:9000", "head") is None


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a.tif", "a.jpg", "a.nrrd", "a.xyz", "a"])
def test_a_damaged_study_is_refused_and_leaves_the_scene_alone(scene, name):
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="cannot be read"):
        load_study(scene, SERVER, StudyFile("a", name, b"<html>no image</html>"))
    assert scene.GetNumberOfNodes() == before
