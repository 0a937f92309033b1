"""The uncertainty map: a second volume of a run, shown in place of the heatmap and deleted with it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import PanelError, ReplyError
from AnomaLabelLib.runs import add_run, delete_run, find_runs
from AnomaLabelLib.slice_views import SliceOverlay, set_opacity
from AnomaLabelLib.uncertainty import COLORS_ID
from example_results import affine, finding, inference_result, nrrd_bytes, volume_node

MATRIX = affine((10, 20, -30), (1, 1.5, 2), (4, 5, 6), (-1, 1, 1))


def heatmap_values() -> np.ndarray:
    values = np.zeros((8, 9, 10), np.float32)
    values[2:5, 3:6, 4:8] = 0.9
    values[7] = np.nan
    return values


def uncertainty_values() -> np.ndarray:
    values = np.linspace(0.01, 0.3, 720, dtype=np.float32).reshape(8, 9, 10)
    values[7] = np.nan
    return values


def result(uncertainty: bytes | None):
    return inference_result(heatmap_values(), MATRIX, [finding(MATRIX, (4, 3, 2), (7, 5, 4))], uncertainty)


@pytest.fixture
def source(scene):
    return volume_node(scene, np.zeros((8, 9, 10), np.float32), MATRIX)


@pytest.fixture
def run(scene, source):
    return add_run(scene, result(nrrd_bytes(uncertainty_values(), MATRIX)), source, "first")


def node_ids(scene) -> set[str]:
    return {scene.GetNthNode(place).GetID() for place in range(scene.GetNumberOfNodes())}


def test_its_values_come_whole_and_its_colours_span_them(scene, run):
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(run.uncertainty), uncertainty_values())
    assert find_runs(scene) == [run]
    display = run.uncertainty.GetScalarVolumeDisplayNode()
    assert display.GetColorNodeID() == COLORS_ID != run.heatmap.GetScalarVolumeDisplayNode().GetColorNodeID()
    assert display.GetColorNode() is not None
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    assert (low, high) == pytest.approx((0.0, float(np.nanmax(uncertainty_values()))))


def test_a_run_without_one_has_none(scene, source):
    assert add_run(scene, result(None), source, "plain").uncertainty is None


def test_it_follows_its_image_and_goes_with_its_run(scene, source):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    source.SetAndObserveTransformNodeID(shift.GetID())
    before = node_ids(scene)
    made = add_run(scene, result(nrrd_bytes(uncertainty_values(), MATRIX)), source, "first")
    assert made.uncertainty.GetTransformNodeID() == shift.GetID()
    delete_run(scene, made.id)
    assert node_ids(scene) == before


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (nrrd_bytes(np.zeros((8, 9, 9), np.float32), MATRIX), ReplyError, "another grid"),
        (nrrd_bytes(np.zeros((8, 9, 10), np.float32), np.eye(4)), ReplyError, "another grid"),
        (nrrd_bytes(np.zeros((8, 9, 10), np.uint8), MATRIX), ReplyError, "uint8"),
        (b"NRRD0004\nnothing", PanelError, "read"),
    ],
    ids=["size", "place", "bytes", "no file"],
)
def test_one_that_does_not_fit_leaves_the_scene_as_it_was(scene, source, content, kind, words):
    before = node_ids(scene)
    with pytest.raises(kind, match=words) as caught:
        add_run(scene, result(content), source, "first")
    assert caught.value.remedy
    assert node_ids(scene) == before


def test_a_map_of_zeros_can_be_shown(scene, source):
    made = add_run(scene, result(nrrd_bytes(np.zeros((8, 9, 10), np.float32), MATRIX)), source, "sure")
    display = made.uncertainty.GetScalarVolumeDisplayNode()
    assert display.GetWindowLevelMax() > display.GetWindowLevelMin() == 0


def test_the_slice_views_show_it_with_the_chosen_opacity(scene, run, source):
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    SliceOverlay(scene).show(source, run.uncertainty, 0.5, None)
    assert composite.GetForegroundVolumeID() == run.uncertainty.GetID()
    set_opacity(scene, run.uncertainty, 0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
