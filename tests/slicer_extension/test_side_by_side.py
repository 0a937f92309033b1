"""Two or three methods beside each other, and the user's own layout afterwards."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.scene.layers import Layer, Layers, read_layers
from AnomaLabelLib.scene.runs import add_run, delete_run
from AnomaLabelLib.scene.side_by_side import SideBySide, layout_description, view_name
from AnomaLabelLib.scene.slice_views import SliceOverlay, jump_to
from AnomaLabelLib.scene.view_legend import legend_of_volume
from example_results import affine, inference_result, volume_node

MATRIX = affine((0, 0, 0), (2, 2, 2), (-60, -60, -40))
SHAPE = (40, 60, 60)
FOUR_UP = 3


@pytest.fixture
def layout(scene):
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    node.SetViewArrangement(FOUR_UP)
    yield node
    logic.SetMRMLScene(None)


@pytest.fixture
def source(scene):
    return volume_node(scene, np.full(SHAPE, 100, np.float32), MATRIX)


def run_of(scene, source, method: str, value: float = 0.9):
    values = np.full(SHAPE, value, np.float32)
    values[:, :6] = np.nan
    return add_run(scene, inference_result(values, MATRIX, [], method=method, calibrated=True), source, method)


@pytest.fixture
def runs(scene, source):
    return [run_of(scene, source, method) for method in ("clap", "few_shot & <more>", "fusion")]


def views_of(scene, count):
    names = [view_name(place) for place in range(count)]
    return [
        (scene.GetSingletonNode(name, "vtkMRMLSliceNode"), scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode"))
        for name in names
    ]


def test_the_description_is_xml_that_slicer_reads():
    described = layout_description(2, "Coronal", ("A & b", "<c>"))
    root = ElementTree.fromstring(described)  # noqa: S314 - our own text
    assert root.get("type") == "horizontal"
    views = list(root.iter("view"))
    assert [view.get("singletontag") for view in views] == ["AnomaLabel1", "AnomaLabel2"]
    told = [{each.get("name"): each.text for each in view} for view in views]
    assert [each["viewlabel"] for each in told] == ["A & b", "<c>"]
    assert {each["orientation"] for each in told} == {"Coronal"}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal"])
def test_each_run_has_a_view_of_its_own_at_the_users_slice(scene, layout, source, runs, count, orientation):
    target = (MATRIX @ [20, 31, 13, 1])[:3]
    jump_to(scene, target)
    texts = SideBySide(scene).show(runs[:count], orientation, 0.5)
    assert layout.GetViewArrangement() == 62310 + count
    assert list(texts) == [view_name(place) for place in range(count)]
    for (view, composite), run in zip(views_of(scene, count), runs, strict=False):
        assert texts[view.GetLayoutName()] == view.GetLayoutLabel() == f"{run.report.method}, embedded"
        assert view.GetOrientation() == orientation
        normal = np.array([view.GetSliceToRAS().GetElement(row, 2) for row in range(3)])
        place = np.array([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
        assert normal @ (target - place) == pytest.approx(0, abs=1e-3)
        expected = Layers(source.GetID(), Layer(run.heatmap.GetID(), 0.5), Layer(run.unseen.GetID(), 0.25))
        assert read_layers(composite) == expected
        assert composite.GetLinkedControl()
        bar = legend_of_volume(run.heatmap)
        assert bar.GetTitleText() == run.report.method
        assert list(bar.GetViewNodeIDs()) == [view.GetID()]


def test_the_users_layout_and_nothing_of_ours_is_left_behind(scene, layout, runs):
    compare = SideBySide(scene)
    compare.show(runs[:2], "Axial", 0.5)
    compare.show(runs, "Coronal", 0.5)
    assert compare.is_on
    compare.end()
    assert layout.GetViewArrangement() == FOUR_UP
    assert not compare.is_on
    for _view, composite in views_of(scene, 3):
        assert read_layers(composite) == Layers(None, Layer(None, 0.0), Layer(None, 0.0))
    assert all(legend_of_volume(run.heatmap) is None for run in runs)
    compare.end()


def test_a_layout_that_the_user_picked_meanwhile_stays(scene, layout, runs):
    compare = SideBySide(scene)
    compare.show(runs[:2], "Axial", 0.5)
    layout.SetViewArrangement(6)
    compare.end()
    assert layout.GetViewArrangement() == 6


def test_a_run_that_was_deleted_meanwhile_harms_nobody(scene, layout, runs):
    compare = SideBySide(scene)
    compare.show(runs[:2], "Axial", 0.5)
    delete_run(scene, runs[0].id)
    compare.end()
    assert layout.GetViewArrangement() == FOUR_UP


def test_opening_a_case_leaves_our_views_alone(scene, layout, source, runs):
    SideBySide(scene).show(runs[:2], "Axial", 0.5)
    other = volume_node(scene, np.zeros(SHAPE, np.float32), MATRIX, "other")
    SliceOverlay(scene).show(other, None, 0.5, None)
    assert [each.GetBackgroundVolumeID() for _view, each in views_of(scene, 2)] == [source.GetID()] * 2


def test_too_few_too_many_or_of_other_images_is_refused(scene, layout, source, runs):
    compare = SideBySide(scene)
    other = volume_node(scene, np.zeros(SHAPE, np.float32), MATRIX, "other")
    for picked, words in (
        (runs[:1], "1 results"),
        (runs + runs[:1], "4 results"),
        ([runs[0], run_of(scene, other, "clap")], "different images"),
    ):
        with pytest.raises(SceneError, match=words) as caught:
            compare.show(picked, "Axial", 0.5)
        assert caught.value.remedy
    assert layout.GetViewArrangement() == FOUR_UP


def test_without_a_layout_it_says_so(scene, runs):
    with pytest.raises(SceneError, match="layout"):
        SideBySide(scene).show(runs[:2], "Axial", 0.5)


@pytest.mark.usefixtures("offscreen")
def test_each_view_draws_its_own_colours_and_follows_the_other(headless, scene, layout, source):
    from slicer_headless.slice_view import OffscreenSliceView

    source.GetDisplayNode().AutoWindowLevelOff()
    source.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    runs = [run_of(scene, source, "faint", 0.41), run_of(scene, source, "strong", 0.9)]
    views = [OffscreenSliceView(headless, view_name(place), "Axial", (200, 240)) for place in range(2)]
    links = slicer.vtkMRMLSliceLinkLogic()
    links.SetMRMLApplicationLogic(headless.application)
    links.SetMRMLScene(scene)
    SideBySide(scene).show(runs, "Axial", 1.0)
    greens = [int(view.draw()[120, 60, 1]) for view in views]
    assert greens[0] < 40, "just above the threshold: red"
    assert greens[1] > 240, "beyond twice the threshold: yellow"
    logic = views[0].logic
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(12.0)
    logic.EndSliceOffsetInteraction()
    assert views[1].logic.GetSliceOffset() == pytest.approx(12.0)
    for view in views:
        view.close()
    links.SetMRMLScene(None)
