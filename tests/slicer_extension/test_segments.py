"""Findings as segments, corrections that are never overwritten, and the label file that is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import nrrd
import numpy as np
import pytest
import slicer
import vtk
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.scene.masks import show_mask, write_mask
from AnomaLabelLib.scene.runs import add_run, delete_run
from AnomaLabelLib.scene.segments import (
    case_segmentation,
    finding_segment,
    grow_segment,
    is_edited,
    mask_of,
    owned_segmentation,
    segment_findings,
    segment_mask,
    segment_of,
)
from example_results import affine, finding, inference_result, nrrd_bytes, volume_node
from vtk.util import numpy_support

GRIDS = {
    "straight": affine((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    "oblique": affine((15, -25, 70), (0.7, 0.9, 4.0), (-31, 12, 88)),
    "flipped": affine((5, 0, 170), (0.7, 0.9, 4.0), (-31, 12, 88), (1, -1, -1)),
    "left-handed": affine((15, -25, 70), (0.7, 0.9, 4.0), (-31, 12, 88), (-1, 1, 1)),
}
each_grid = pytest.mark.parametrize("matrix", GRIDS.values(), ids=GRIDS)
SHAPE = (6, 20, 30)


def box(shape, low, high) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1] = True
    return mask


def named(name: str):
    return SimpleNamespace(id=name, label=name, peak_index=(0, 0, 0), index_min=(0, 0, 0), index_max=(0, 0, 0))


ONE, TWO = box(SHAPE, (3, 4, 1), (9, 8, 3)), box(SHAPE, (8, 7, 2), (20, 15, 5))


@pytest.fixture
def source(scene):
    return volume_node(scene, np.zeros(SHAPE, np.int16), GRIDS["oblique"])


def edit(segmentation, segment_id: str, grid, mask: np.ndarray) -> None:
    """What the Segment Editor does at the end of a stroke."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    to_ras = vtk.vtkMatrix4x4()
    grid.GetIJKToRASMatrix(to_ras)
    image.SetImageToWorldMatrix(to_ras)
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, segmentation, segment_id)


def file_of(content: bytes) -> tuple[np.ndarray, dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nrrd"
        path.write_bytes(content)
        return nrrd.read(str(path), index_order="C")


@each_grid
@pytest.mark.parametrize("shape", [SHAPE, (1, 20, 30)], ids=["volume", "single slice"])
def test_what_goes_in_comes_out_on_every_grid(scene, matrix, shape):
    source = volume_node(scene, np.zeros(shape, np.int16), matrix)
    first, second = box(shape, (3, 4, 0), (9, 8, 2)), box(shape, (29, 19, 0), (29, 19, 0))
    segment_of(scene, None, source, named("a"), first, "First")
    segment_of(scene, None, source, named("b"), second, "Second")
    segmentation = case_segmentation(scene, source)
    labels, names = mask_of(segmentation, source)
    np.testing.assert_array_equal(labels, np.where(second, 2, first))
    assert labels.dtype == np.uint8
    assert names == ("First", "Second")
    assert segment_findings(segmentation) == ("a", "b")


def test_the_later_segment_wins_where_two_overlap(scene, source):
    for name, mask in (("a", ONE), ("b", TWO)):
        segment_of(scene, None, source, named(name), mask, name)
    labels, _names = mask_of(case_segmentation(scene, source), source)
    np.testing.assert_array_equal(labels, np.where(TWO, 2, ONE))
    assert (ONE & TWO).any()


def test_an_image_has_one_segmentation_and_every_image_its_own(scene, source):
    other = volume_node(scene, np.zeros(SHAPE, np.int16), GRIDS["oblique"], "other")
    scene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", "the user's own"
    ).SetReferenceImageGeometryParameterFromVolumeNode(source)
    assert case_segmentation(scene, source) is None
    segment_of(scene, None, source, named("a"), ONE, "a")
    made = case_segmentation(scene, source)
    segment_of(scene, None, source, named("b"), TWO, "b")
    assert made.GetSegmentation().GetNumberOfSegments() == 2
    assert case_segmentation(scene, other) is None
    assert owned_segmentation(scene, other) is not made
    assert owned_segmentation(scene, source) is made


def test_growing_again_writes_the_same_segment_anew(scene, source):
    first = segment_of(scene, None, source, named("a"), TWO, "a")
    again = segment_of(scene, None, source, named("a"), ONE, "other name")
    segmentation = case_segmentation(scene, source)
    assert (again.id, again.kept) == (first.id, False)
    np.testing.assert_array_equal(segment_mask(segmentation, again.id, source), ONE)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1
    empty = segment_of(scene, None, source, named("a"), np.zeros(SHAPE, bool), "a")
    assert not segment_mask(segmentation, empty.id, source).any()
    assert mask_of(segmentation, source)[1] == segment_findings(segmentation) == ()


def test_growing_one_segment_into_another_leaves_the_other_alone(scene, source):
    apart = box(SHAPE, (25, 0, 0), (28, 2, 1))
    first = segment_of(scene, None, source, named("a"), ONE, "a")
    second = segment_of(scene, None, source, named("b"), apart, "b")
    segmentation = case_segmentation(scene, source)
    segment_of(scene, None, source, named("b"), ONE | apart, "b")
    np.testing.assert_array_equal(segment_mask(segmentation, first.id, source), ONE)
    np.testing.assert_array_equal(segment_mask(segmentation, second.id, source), ONE | apart)
    assert not is_edited(segmentation, first.id, source)


def test_a_corrected_segment_is_never_overwritten(scene, source):
    placed = segment_of(scene, None, source, named("a"), ONE, "a")
    other = segment_of(scene, None, source, named("b"), ONE, "b")
    segmentation = case_segmentation(scene, source)
    assert not is_edited(segmentation, placed.id, source)
    corrected = ONE.copy()
    corrected[3, 8, 9] = False
    edit(segmentation, placed.id, source, corrected)
    assert is_edited(segmentation, placed.id, source)
    assert not is_edited(segmentation, other.id, source)
    again = segment_of(scene, None, source, named("a"), TWO, "a")
    assert (again.id, again.kept) == (placed.id, True)
    assert "kept" in again.note
    np.testing.assert_array_equal(segment_mask(segmentation, placed.id, source), corrected)
    segmentation.GetSegmentation().RemoveSegment(placed.id)
    fresh = segment_of(scene, None, source, named("a"), TWO, "a")
    np.testing.assert_array_equal(segment_mask(segmentation, fresh.id, source), TWO)


@each_grid
def test_what_was_drawn_outside_the_image_is_cut_off(scene, matrix):
    source = volume_node(scene, np.zeros(SHAPE, np.int16), matrix)
    wide = matrix.copy()
    wide[:3, 3] = (matrix @ [-5, -4, -2, 1])[:3]
    larger = volume_node(scene, np.zeros((10, 30, 45), np.int16), wide, "larger")
    placed = segment_of(scene, None, source, named("a"), ONE, "a")
    segmentation = case_segmentation(scene, source)
    drawn = box((10, 30, 45), (0, 0, 0), (20, 10, 4))
    edit(segmentation, placed.id, larger, drawn)
    expected = drawn[2:8, 4:24, 5:35]
    np.testing.assert_array_equal(segment_mask(segmentation, placed.id, source), expected)
    np.testing.assert_array_equal(mask_of(segmentation, source)[0], expected)


def test_a_segment_that_the_user_added_is_sent_too(scene, source):
    segment_of(scene, None, source, named("a"), ONE, "a")
    segmentation = case_segmentation(scene, source)
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "Missed")
    assert mask_of(segmentation, source)[1] == ("a",)
    edit(segmentation, segment_id, source, TWO)
    labels, names = mask_of(segmentation, source)
    assert names == ("a", "Missed")
    np.testing.assert_array_equal(labels == 2, TWO)
    assert segment_findings(segmentation) == ("a",)
    assert finding_segment(segmentation, "nobody") is None


def test_more_segments_than_a_byte_can_number_are_refused(scene, source):
    segmentation = owned_segmentation(scene, source)
    segment_of(scene, segmentation, source, named("a"), ONE, "a")
    first = segmentation.GetSegmentation().GetNthSegment(0)
    for _number in range(255):
        copy = slicer.vtkSegment()
        copy.DeepCopy(first)
        segmentation.GetSegmentation().AddSegment(copy)
    with pytest.raises(SceneError, match="255"):
        mask_of(segmentation, source)


def test_a_mask_of_another_size_is_refused(scene, source):
    with pytest.raises(SceneError, match="size"):
        segment_of(scene, None, source, named("a"), ONE[1:], "a")
    assert case_segmentation(scene, source) is None


def test_it_moves_with_its_image(scene, source):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    source.SetAndObserveTransformNodeID(shift.GetID())
    segment_of(scene, None, source, named("a"), ONE, "a")
    segmentation = case_segmentation(scene, source)
    assert segmentation.GetTransformNodeID() == shift.GetID()
    np.testing.assert_array_equal(mask_of(segmentation, source)[0], ONE)


@each_grid
def test_a_finding_grows_on_the_heatmap_and_lies_on_the_image(scene, matrix):
    """The image may count its slices from the other end than the server's file does."""
    values = np.zeros(SHAPE, np.float32)
    values[1, 5:9, 10:14] = 0.8
    values[4, 15, 20] = 0.9
    row = finding(matrix, (8, 4, 0), (15, 10, 2), peak=(12, 6, 1))
    turned = matrix.copy()
    turned[:3, 3] += 5 * turned[:3, 2]
    turned[:3, 2] *= -1
    for place, flip in ((matrix, 1), (turned, -1)):
        source = volume_node(scene, np.zeros(SHAPE, np.int16), place)
        run = add_run(scene, inference_result(values, matrix, [row]), source, "run")
        (found,) = run.report.findings
        placed = grow_segment(scene, run.heatmap, source, 0.5, found, "Finding 1")
        expected = values == np.float32(0.8)
        segmentation = case_segmentation(scene, source)
        assert not is_edited(segmentation, placed.id, source)
        np.testing.assert_array_equal(mask_of(segmentation, source)[0][::flip], expected)
        np.testing.assert_array_equal(mask_of(segmentation, run.heatmap)[0], expected)
        assert grow_segment(scene, run.heatmap, source, 0.85, found, "Finding 1").note
        delete_run(scene, run.id)
        assert case_segmentation(scene, source) is segmentation, "the correction outlives the run"


@each_grid
def test_the_file_holds_the_labels_at_their_place(scene, matrix):
    source = volume_node(scene, np.zeros(SHAPE, np.int16), matrix)
    labels = np.where(TWO, 2, ONE).astype(np.uint8)
    content = write_mask(labels, source)
    values, header = file_of(content)
    np.testing.assert_array_equal(values, labels)
    assert (values.dtype, header["encoding"], header["space"]) == (np.uint8, "gzip", "right-anterior-superior")
    written = np.eye(4)
    written[:3, :3], written[:3, 3] = header["space directions"].T, header["space origin"]
    np.testing.assert_allclose(written, matrix, atol=1e-6)
    assert content == write_mask(labels, source)
    assert content != write_mask(labels + np.uint8(1), source)


@each_grid
def test_a_label_of_the_server_comes_back_as_segments(scene, matrix):
    source = volume_node(scene, np.zeros(SHAPE, np.int16), matrix)
    labels = np.where(TWO, 3, ONE).astype(np.uint8)
    ids = show_mask(scene, write_mask(labels, source), source, ("Glioma", "Empty"))
    segmentation = case_segmentation(scene, source)
    segments = segmentation.GetSegmentation()
    assert [segments.GetSegment(each).GetName() for each in ids] == ["Glioma", "Empty", "Label 3"]
    back, names = mask_of(segmentation, source)
    np.testing.assert_array_equal(back, np.where(TWO, 2, ONE))
    assert names == ("Glioma", "Label 3")
    assert write_mask(back, source) == write_mask(np.where(TWO, 2, ONE), source)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (nrrd_bytes(np.zeros(SHAPE, np.uint8), GRIDS["straight"]), "different grids"),
        (nrrd_bytes(np.zeros(SHAPE, np.float32), GRIDS["oblique"]), "no labels"),
        (nrrd_bytes(np.full(SHAPE, -1, np.int16), GRIDS["oblique"]), "no labels"),
        (b"<html>", "cannot be read"),
    ],
    ids=["place", "floats", "negative", "no file"],
)
def test_a_file_that_is_no_label_leaves_the_scene_alone(scene, source, content, words):
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match=words) as caught:
        show_mask(scene, content, source, ("a",))
    assert caught.value.remedy
    assert scene.GetNumberOfNodes() == before


@pytest.mark.usefixtures("offscreen")
def test_a_segment_is_drawn_over_its_voxels(headless, scene):
    from slicer_headless.slice_view import OffscreenSliceView

    matrix = affine((0, 0, 0), (2, 2, 2), (-60, -60, -40))
    source = volume_node(scene, np.zeros((40, 60, 60), np.int16), matrix)
    view = OffscreenSliceView(headless, "Red", "Axial", (300, 300))
    view.logic.GetSliceCompositeNode().SetBackgroundVolumeID(source.GetID())
    view.fit()
    view.node.JumpSliceByCentering(*(matrix @ [30, 30, 20, 1])[:3])
    segment_of(scene, None, source, named("a"), box((40, 60, 60), (20, 22, 15), (39, 35, 25)), "a")
    green = view.draw()[..., 1] > 100
    rows, columns = np.nonzero(green)
    corners = [view.pixel_of((matrix @ [i, j, 20, 1])[:3]) for i, j in ((19.5, 21.5), (39.5, 35.5))]
    view.close()
    assert sorted((rows.min(), rows.max())) == pytest.approx(sorted(corner[0] for corner in corners), abs=2)
    assert sorted((columns.min(), columns.max())) == pytest.approx(sorted(corner[1] for corner in corners), abs=2)
