"""Findings of the reader's own: where a fresh box appears, and what a segment says on another grid."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.review.row import finding_of
from AnomaLabelLib.scene.box_edit import row_of_box
from AnomaLabelLib.scene.boxes import remove_box
from AnomaLabelLib.scene.new_box import add_new_box, row_of_segment
from AnomaLabelLib.scene.ownership import HEATMAP_ROLE, RUN_ATTRIBUTE, claim
from AnomaLabelLib.scene.slice_views import jump_to
from example_results import affine, volume_node

SHAPE = (30, 40, 50)
MATRIX = affine((15, -25, 40), (1.0, 1.2, 2.0), (5, -6, 12), (-1, 1, 1))


@pytest.fixture
def heatmap(scene):
    values = np.zeros(SHAPE, np.float32)
    values[10:14, 12:18, 20:30] = 0.5
    values[12, 15, 25] = 0.9
    node = volume_node(scene, values, MATRIX)
    claim(node, "run", HEATMAP_ROLE)
    return node


def world(index, matrix=MATRIX) -> np.ndarray:
    return (matrix @ np.append(index, 1.0))[:3]


def add_views(scene) -> None:
    for number, axes in enumerate((((1, 0, 0), (0, 1, 0)), ((-1, 0, 0), (0, 0, 1)), ((0, -1, 0), (0, 0, 1)))):
        view = slicer.vtkMRMLSliceNode()
        view.SetName(str(number))
        view.SetLayoutName(str(number))
        scene.AddNode(view)
        view.SetDimensions(200, 200, 1)
        view.SetFieldOfView(200, 200, 1)
        placement = np.eye(4)
        placement[:3, :3] = np.column_stack([*axes, np.cross(*axes)])
        view.GetSliceToRAS().DeepCopy(placement.ravel().tolist())
        view.UpdateMatrices()


@pytest.mark.parametrize("index", [(20, 13, 9), (3, 30, 25)])
def test_a_fresh_box_lies_where_the_views_cross(scene, heatmap, index):
    add_views(scene)
    jump_to(scene, world(index))
    roi, finding_id = add_new_box(scene, heatmap)
    row = row_of_box(roi, heatmap)
    assert row["id"] == finding_id
    assert (np.array(row["index_min"]) <= index).all()
    assert (np.array(row["index_max"]) >= index).all()
    assert max(np.array(row["index_max"]) - row["index_min"]) <= 6
    assert roi.GetAttribute(RUN_ATTRIBUTE) == "run"
    finding_of(row)


@pytest.mark.parametrize("with_views", [False, True])
def test_out_of_sight_of_the_image_a_fresh_box_lies_in_its_middle(scene, heatmap, with_views):
    if with_views:
        add_views(scene)
        jump_to(scene, world((900, 900, 900)))
    roi, _finding_id = add_new_box(scene, heatmap)
    row = row_of_box(roi, heatmap)
    middle = (np.array(row["index_min"]) + row["index_max"]) / 2
    np.testing.assert_allclose(middle, (24.5, 19.5, 14.5), atol=1)


def test_a_fresh_box_follows_the_transform_of_its_image_and_leaves_nothing_behind(scene, heatmap):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift = np.eye(4)
    shift[:3, 3] = (30, 0, -20)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    heatmap.SetAndObserveTransformNodeID(transform.GetID())
    add_views(scene)
    jump_to(scene, world((20, 13, 9)) + np.array([30, 0, -20]))
    before = scene.GetNumberOfNodes()
    roi, _finding_id = add_new_box(scene, heatmap)
    row = row_of_box(roi, heatmap)
    assert (np.array(row["index_min"]) <= (20, 13, 9)).all()
    assert (np.array(row["index_max"]) >= (20, 13, 9)).all()
    remove_box(scene, roi)
    assert scene.GetNumberOfNodes() == before


def test_a_fresh_box_in_a_flat_image_has_one_slice(scene):
    image = volume_node(scene, np.zeros((1, 40, 50), np.float32), MATRIX)
    roi, _finding_id = add_new_box(scene, image)
    row = row_of_box(roi, image)
    assert (row["index_min"][2], row["index_max"][2]) == (0, 0)
    assert row["score"] is None


def segmentation_of(scene, mask: np.ndarray, matrix: np.ndarray, name="my lesion"):
    """A segmentation whose one segment is a mask (Z, Y, X) on a grid of its own."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    labels = volume_node(scene, mask.astype(np.int16), matrix, "labels")
    image = slicer.vtkSlicerSegmentationsModuleLogic.CreateOrientedImageDataFromVolumeNode(labels)
    segment_id = node.AddSegmentFromBinaryLabelmapRepresentation(image, name)
    return node, segment_id


def inside_of(mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(Z, Y, X) on the heatmap's grid: whether the nearest voxel of another grid's mask is set; slow and obvious."""
    inside = np.zeros(SHAPE, bool)
    to_mask = np.linalg.inv(matrix) @ MATRIX
    for k, j, i in np.ndindex(*SHAPE):
        x, y, z = np.floor((to_mask @ (i, j, k, 1.0))[:3] + 0.5).astype(int)
        if 0 <= x < mask.shape[2] and 0 <= y < mask.shape[1] and 0 <= z < mask.shape[0]:
            inside[k, j, i] = mask[z, y, x]
    return inside


def test_a_segment_on_the_images_grid(scene, heatmap):
    mask = np.zeros(SHAPE, bool)
    mask[11:13, 14:17, 22:28] = True
    mask[11, 14, 22] = False
    row = row_of_segment(*segmentation_of(scene, mask, MATRIX), heatmap)
    assert (row["index_min"], row["index_max"]) == ([22, 14, 11], [27, 16, 12])
    assert row["volume_mm3"] == pytest.approx((2 * 3 * 6 - 1) * 2.4)
    assert (row["score"], row["peak_index"]) == (pytest.approx(0.9), [25, 15, 12])
    assert row["mean_score"] == pytest.approx((34 * 0.5 + 0.9) / 35)
    assert row["label"] == "my lesion"
    finding_of(row)


@pytest.mark.parametrize(("turned", "spacing"), [((15, -25, 40), (0.5, 0.6, 1.0)), ((-10, 5, 12), (1.7, 0.9, 1.3))])
def test_a_segment_on_another_grid_covers_the_voxels_whose_middle_it_holds(scene, heatmap, turned, spacing):
    other = affine(turned, spacing, (0, 0, 0))
    center = np.array([50.2, 44.9, 30.3])
    other[:3, 3] = world((24, 15, 12)) - other[:3, :3] @ center
    mask = np.zeros((60, 90, 100), bool)
    z, y, x = np.ogrid[:60, :90, :100]
    distance = [(axis - middle) * mm for axis, middle, mm in zip((x, y, z), center, spacing, strict=True)]
    mask[distance[0] ** 2 + distance[1] ** 2 + distance[2] ** 2 < 36] = True
    expected = inside_of(mask, other)
    assert expected.sum() > 100
    row = row_of_segment(*segmentation_of(scene, mask, other), heatmap)
    found = np.argwhere(expected)[:, ::-1]
    assert row["volume_mm3"] == pytest.approx(expected.sum() * 2.4, rel=0.02)
    np.testing.assert_allclose(row["index_min"], found.min(axis=0), atol=1)
    np.testing.assert_allclose(row["index_max"], found.max(axis=0), atol=1)
    assert row["score"] == pytest.approx(0.9)


def test_no_segment_an_empty_one_and_one_outside_are_refused(scene, heatmap):
    with pytest.raises(SceneError, match="No segment is picked"):
        row_of_segment(None, "", heatmap)
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, 0] = True
    node, segment_id = segmentation_of(scene, mask, MATRIX)
    with pytest.raises(SceneError, match="No segment is picked"):
        row_of_segment(node, "another", heatmap)
    empty = node.GetSegmentation().AddEmptySegment("empty", "empty")
    with pytest.raises(SceneError, match="'empty' covers no voxel"):
        row_of_segment(node, empty, heatmap)
    away = MATRIX.copy()
    away[:3, 3] += 500
    node, segment_id = segmentation_of(scene, mask, away)
    with pytest.raises(SceneError, match="covers no voxel of the image"):
        row_of_segment(node, segment_id, heatmap)


def test_a_segment_under_another_transform_than_its_image_is_refused(scene, heatmap):
    mask = np.zeros(SHAPE, bool)
    mask[5:8, 5:8, 5:8] = True
    node, segment_id = segmentation_of(scene, mask, MATRIX)
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    node.SetAndObserveTransformNodeID(shift.GetID())
    with pytest.raises(SceneError, match="different transforms"):
        row_of_segment(node, segment_id, heatmap)
