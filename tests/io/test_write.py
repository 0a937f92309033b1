"""What is written comes back in every reader."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest
import SimpleITK

from anomalabel.errors import OutputError
from anomalabel.io import write
from anomalabel.io.picture import picture_affine_ras
from anomalabel.io.read import read_volume
from anomalabel.io.write import write_compact_heatmap, write_heatmap, write_text
from anomalabel.volume import LPS_FROM_RAS

OBLIQUE = np.array([[-0.48, 0.1176, 0.56, 50.123456], [-0.14, -0.4032, -1.92, -20.5], [0, -0.56, 1.5, 7], [0, 0, 0, 1]])


@pytest.fixture
def anomaly_map():
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    values[0, 1, 2] = values[3, 4, 5] = np.nan
    return values


def test_heatmap_comes_back_in_every_reader(tmp_path, anomaly_map, itk_affine_lps):
    path = tmp_path / "a.heatmap.nrrd"
    write_heatmap(path, anomaly_map, OBLIQUE)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, anomaly_map)
    np.testing.assert_allclose(volume.affine_ras, OBLIQUE, atol=1e-12)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), anomaly_map)
    np.testing.assert_allclose(LPS_FROM_RAS @ itk_affine_lps(image), OBLIQUE, atol=1e-5)
    stored, header = nrrd.read(str(path), index_order="C")
    np.testing.assert_array_equal(stored, anomaly_map)
    assert (stored.dtype, header["encoding"], header["space"]) == (np.float32, "gzip", "left-posterior-superior")


def test_heatmap_in_slicer(tmp_path, anomaly_map):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    vtk = pytest.importorskip("vtk", reason="vtk is not installed")
    numpy_support = pytest.importorskip("vtk.util.numpy_support", reason="vtk is not installed")
    write_heatmap(tmp_path / "a.nrrd", anomaly_map, OBLIQUE)
    node, storage, matrix = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLNRRDStorageNode(), vtk.vtkMatrix4x4()
    storage.SetFileName(str(tmp_path / "a.nrrd"))
    assert storage.ReadData(node) == 1
    node.GetIJKToRASMatrix(matrix)
    affine = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
    np.testing.assert_allclose(affine, OBLIQUE, atol=1e-5)
    values = numpy_support.vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    np.testing.assert_array_equal(values.reshape(anomaly_map.shape), anomaly_map)


def test_picture_heatmap_has_one_slice_on_the_pictures_grid(tmp_path, itk_affine_lps):
    picture = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    write_heatmap(tmp_path / "a.nrrd", picture, picture_affine_ras(0.5, 0.25))
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    assert image.GetSize() == (4, 3, 1)
    np.testing.assert_allclose(itk_affine_lps(image), np.diag([0.25, 0.5, 1, 1]))


def test_compact_heatmap_keeps_the_map_within_half_a_step(tmp_path, anomaly_map):
    slope, intercept = write_compact_heatmap(tmp_path / "a.nrrd", anomaly_map, OBLIQUE)
    stored, _ = nrrd.read(str(tmp_path / "a.nrrd"), index_order="C")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored == 0, np.isnan(anomaly_map))
    seen = stored > 0
    assert (stored[seen].min(), stored.max()) == (1, 255)
    np.testing.assert_allclose(slope * stored[seen] + intercept, anomaly_map[seen], atol=slope / 2 * 1.001)
    assert slope == pytest.approx((np.nanmax(anomaly_map) - np.nanmin(anomaly_map)) / 254)


@pytest.mark.parametrize("value", [0.7, np.nan])
def test_compact_heatmap_of_one_value(tmp_path, value):
    slope, intercept = write_compact_heatmap(tmp_path / "a.nrrd", np.full((2, 3, 4), value, np.float32), OBLIQUE)
    stored, _ = nrrd.read(str(tmp_path / "a.nrrd"), index_order="C")
    if np.isnan(value):
        assert not stored.any()
    else:
        np.testing.assert_allclose(slope * stored.astype(float) + intercept, value, atol=1e-6)


def test_text_is_replaced_whole(tmp_path):
    write_text(tmp_path / "a.json", "first")
    write_text(tmp_path / "a.json", "zweite Fassung: µ")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "zweite Fassung: µ"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, anomaly_map, monkeypatch):
    path = tmp_path / "a.nrrd"
    write_heatmap(path, anomaly_map, OBLIQUE)
    before = path.read_bytes()

    def disk_full(name, *_, **__):
        with open(name, "wb") as stream:  # noqa: PTH123
            stream.write(b"NRRD")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.nrrd, "write", disk_full)
    with pytest.raises(OutputError, match="No space left"):
        write_heatmap(path, anomaly_map * 2, OBLIQUE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_is_not_there(tmp_path, anomaly_map):
    with pytest.raises(OutputError, match="cannot be written"):
        write_heatmap(tmp_path / "none" / "a.nrrd", anomaly_map, OBLIQUE)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.json", "text")
