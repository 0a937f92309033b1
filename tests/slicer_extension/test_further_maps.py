"""The maps beside a heatmap: further volumes of a run, shown in place of the heatmap and deleted with it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import PanelError, ReplyError
from AnomaLabelLib.scene.further_maps import LOOKS, map_name
from AnomaLabelLib.scene.runs import add_run, delete_run, find_runs
from AnomaLabelLib.scene.slice_views import SliceOverlay, set_opacity
from AnomaLabelLib.server.map_kinds import MAP_KINDS, RECONSTRUCTION, SALIENCY, UNCERTAINTY
from example_results import affine, finding, inference_result, nrrd_bytes, volume_node

MATRIX = affine((10, 20, -30), (1, 1.5, 2), (4, 5, 6), (-1, 1, 1))
RANGES = {UNCERTAINTY: (0.01, 0.3), SALIENCY: (-0.8, 0.9), RECONSTRUCTION: (0.05, 1.2)}
WINDOWS = {UNCERTAINTY: (-0.04, 0.1), SALIENCY: (-0.8, 0.9), RECONSTRUCTION: (0.0, 1.0)}

each_kind = pytest.mark.parametrize("kind", MAP_KINDS)


def heatmap_values() -> np.ndarray:
    values = np.zeros((8, 9, 10), np.float32)
    values[2:5, 3:6, 4:8] = 0.9
    values[7] = np.nan
    return values


def map_values(kind: str) -> np.ndarray:
    values = np.linspace(*RANGES[kind], 630, dtype=np.float32).reshape(7, 9, 10)
    return np.concatenate([values, np.full((1, 9, 10), np.nan, np.float32)])


def files(*kinds: str) -> dict[str, bytes]:
    return {kind: nrrd_bytes(map_values(kind), MATRIX) for kind in kinds}


def result(maps: dict[str, bytes] | None = None):
    return inference_result(heatmap_values(), MATRIX, [finding(MATRIX, (4, 3, 2), (7, 5, 4))], maps)


@pytest.fixture
def source(scene):
    return volume_node(scene, np.zeros((8, 9, 10), np.float32), MATRIX)


@pytest.fixture
def run(scene, source):
    return add_run(scene, result(files(*MAP_KINDS)), source, "first")


def node_ids(scene) -> set[str]:
    return {scene.GetNthNode(place).GetID() for place in range(scene.GetNumberOfNodes())}


@each_kind
def test_their_values_come_whole_and_their_colours_span_them(scene, run, kind):
    volume = run.maps[kind]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), map_values(kind))
    assert volume.GetName() == map_name(kind, "first")
    display = volume.GetScalarVolumeDisplayNode()
    assert display.GetColorNodeID() == LOOKS[kind].colors_id
    assert display.GetColorNode() is not None
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx(WINDOWS[kind])


def test_uncertainty_is_shown_only_where_it_matters(run):
    bounds = {kind: volume.GetScalarVolumeDisplayNode().GetLowerThreshold() for kind, volume in run.maps.items()}
    assert bounds[UNCERTAINTY] == pytest.approx(0.03)
    assert max(bounds[SALIENCY], bounds[RECONSTRUCTION]) < -1e29


def test_each_has_colours_of_its_own(run):
    shown = [volume.GetScalarVolumeDisplayNode().GetColorNodeID() for volume in (run.heatmap, *run.maps.values())]
    assert len(set(shown)) == len(MAP_KINDS) + 1


def test_a_run_is_found_again_with_all_its_maps(scene, source, run):
    some = add_run(scene, result(files(RECONSTRUCTION)), source, "second")
    plain = add_run(scene, result(), source, "third")
    assert find_runs(scene) == [run, some, plain]
    assert [set(one.maps) for one in (run, some, plain)] == [set(MAP_KINDS), {RECONSTRUCTION}, set()]


def test_they_follow_their_image_and_go_with_their_run(scene, source):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    source.SetAndObserveTransformNodeID(shift.GetID())
    before = node_ids(scene)
    made = add_run(scene, result(files(*MAP_KINDS)), source, "first")
    assert {volume.GetTransformNodeID() for volume in made.maps.values()} == {shift.GetID()}
    delete_run(scene, made.id)
    assert node_ids(scene) == before


@each_kind
@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (nrrd_bytes(np.zeros((8, 9, 9), np.float32), MATRIX), ReplyError, "another grid"),
        (nrrd_bytes(np.zeros((8, 9, 10), np.float32), np.eye(4)), ReplyError, "another grid"),
        (nrrd_bytes(np.zeros((8, 9, 10), np.uint8), MATRIX), ReplyError, "uint8"),
        (b"NRRD0004\nnothing", PanelError, "read"),
    ],
    ids=["size", "place", "bytes", "no file"],
)
def test_one_that_does_not_fit_leaves_the_scene_as_it_was(scene, source, kind, content, error, words):
    before = node_ids(scene)
    with pytest.raises(error, match=words) as caught:
        add_run(scene, result({**files(*MAP_KINDS), kind: content}), source, "first")
    assert caught.value.remedy
    assert node_ids(scene) == before


@each_kind
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_map_that_says_nothing_can_be_shown(scene, source, kind, value):
    content = nrrd_bytes(np.full((8, 9, 10), value, np.float32), MATRIX)
    made = add_run(scene, result({kind: content}), source, "sure")
    display = made.maps[kind].GetScalarVolumeDisplayNode()
    assert display.GetWindowLevelMax() > display.GetWindowLevelMin()


@each_kind
def test_the_slice_views_show_it_with_the_chosen_opacity(scene, run, source, kind):
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    SliceOverlay(scene).show(source, run.maps[kind], 0.5, None)
    assert composite.GetForegroundVolumeID() == run.maps[kind].GetID()
    set_opacity(scene, run.maps[kind], 0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
