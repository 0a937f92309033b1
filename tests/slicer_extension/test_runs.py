"""Runs own their nodes: added whole or not at all, found again, deleted alone."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import PanelError, SceneError
from AnomaLabelLib.scene.ownership import FINDING_ATTRIBUTE, owned_nodes
from AnomaLabelLib.scene.runs import add_run, delete_run, find_runs
from example_results import affine, finding, inference_result, volume_node

MATRIX = affine((10, 20, -30), (1, 1.5, 2), (4, 5, 6), (-1, 1, 1))


def heatmap_values() -> np.ndarray:
    values = np.zeros((8, 9, 10), np.float32)
    values[2:5, 3:6, 4:8] = 0.9
    values[7] = np.nan
    return values


def result(findings=None):
    values = heatmap_values()
    findings = [finding(MATRIX, (4, 3, 2), (7, 5, 4)), finding(MATRIX, (0, 0, 0), (1, 1, 1))]
    return inference_result(values, MATRIX, findings)


@pytest.fixture
def source(scene):
    return volume_node(scene, np.zeros((8, 9, 10), np.float32), MATRIX)


def node_ids(scene) -> set[str]:
    return {scene.GetNthNode(place).GetID() for place in range(scene.GetNumberOfNodes())}


def test_a_run_holds_heatmap_mask_boxes_and_report(scene, source):
    run = add_run(scene, result(), source, "first")
    assert run.source is source
    assert [box.GetAttribute(FINDING_ATTRIBUTE) for box in run.boxes] == [entry.id for entry in run.report.findings]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(run.heatmap), heatmap_values())
    assert find_runs(scene) == [run]


def test_deleting_a_run_removes_just_its_nodes(scene, source):
    users_box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "the user's own")
    users_box.CreateDefaultDisplayNodes()
    kept = add_run(scene, result(), source, "kept")
    before = node_ids(scene)
    gone = add_run(scene, result(), source, "gone")
    assert node_ids(scene) > before

    delete_run(scene, gone.id)

    assert node_ids(scene) == before
    assert find_runs(scene) == [kept]
    assert scene.GetNodeByID(users_box.GetID()) is users_box


def test_what_a_user_moved_into_the_folder_stays_in_the_scene(scene, source):
    run = add_run(scene, result(), source, "first")
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = tree.GetItemParent(tree.GetItemByDataNode(run.heatmap))
    assert tree.GetItemName(folder) == "first"
    note = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "note")
    item = tree.CreateItem(folder, note)

    delete_run(scene, run.id)

    assert tree.GetItemParent(item) == tree.GetSceneItemID()
    assert tree.GetItemDataNode(item) is note
    assert tree.GetItemByName("first") == tree.GetInvalidItemID()


def test_a_result_on_another_grid_is_refused_and_nothing_is_left(scene):
    other = MATRIX.copy()
    other[1, 3] += 2
    source = volume_node(scene, np.zeros((8, 9, 10), np.float32), other)
    before = node_ids(scene)
    with pytest.raises(SceneError, match="another grid"):
        add_run(scene, result(), source, "first")
    assert node_ids(scene) == before


def test_a_box_in_a_wrong_place_takes_the_whole_result_back(scene, source):
    entries = [finding(MATRIX, (4, 3, 2), (7, 5, 4)), finding(MATRIX, (0, 0, 0), (1, 1, 1))]
    entries[1]["center_ras"][2] += 3
    before = node_ids(scene)
    with pytest.raises(PanelError):
        add_run(scene, inference_result(heatmap_values(), MATRIX, entries), source, "first")
    assert node_ids(scene) == before


def test_two_runs_of_one_name_are_told_apart(scene, source):
    first = add_run(scene, result(), source, "same")
    second = add_run(scene, result(), source, "same")
    assert first.name != second.name
    assert {node.GetID() for node in owned_nodes(scene, first.id)}.isdisjoint(
        node.GetID() for node in owned_nodes(scene, second.id)
    )


def test_a_run_whose_heatmap_was_removed_by_hand_is_no_run(scene, source):
    run = add_run(scene, result(), source, "first")
    scene.RemoveNode(run.heatmap)
    assert find_runs(scene) == []
    delete_run(scene, run.id)
    assert owned_nodes(scene, run.id) == []


def test_heatmap_and_boxes_follow_the_transform_of_their_image(scene, source):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    source.SetAndObserveTransformNodeID(shift.GetID())
    run = add_run(scene, result(), source, "first")
    assert {node.GetParentTransformNode() for node in (run.heatmap, run.unseen, *run.boxes)} == {shift}


def test_a_saved_scene_brings_the_run_back(scene, source, tmp_path):
    run = add_run(scene, result(), source, "first")
    scene.SetURL(str(tmp_path / "scene.mrml"))
    record = scene.GetFirstNodeByName("first")
    attributes = {name: record.GetAttribute(name) for name in record.GetAttributeNames()}
    assert scene.Commit()
    text = (tmp_path / "scene.mrml").read_text()
    assert all(f"{name}:{value}" in text for name, value in attributes.items())
    assert run.id in text
