"""Two results of one image: beside each other, blended, and back."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene.nodes import nodes_of_class
from AnomaLabelLib.scene.runs import find_runs
from panel_examples import answer, open_case, settle


@pytest.fixture
def layout(scene):
    """The application's layout, as the user has it."""
    node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    return node


@pytest.fixture
def two(layout, at_work, cases):
    """The widgets with two results of case a, the second one with half the threshold."""
    cases.served.answer(
        "POST", "/infer/clap_attention", answer(threshold={"value": 0.2, "rule": "mean"}, method="fusion")
    )
    at_work.ui.runButton.click()
    settle(at_work)
    assert len(find_runs(slicer.mrmlScene)) == 2
    return at_work


def beside(scene) -> list[tuple[str, float]]:
    """(foreground, opacity) of our own views."""
    views = [
        each
        for each in nodes_of_class(scene, "vtkMRMLSliceCompositeNode")
        if (each.GetLayoutName() or "").startswith("AnomaLabel")
    ]
    return [(each.GetForegroundVolumeID(), pytest.approx(each.GetForegroundOpacity())) for each in views]


def test_one_result_has_nothing_to_be_compared_with(at_work, layout):
    assert not at_work.ui.compareCombo.isEnabled()
    at_work.presenter.results.compare(1)
    assert "only one result" in at_work.ui.noticeLabel.text()
    assert at_work.presenter.state.compared == 0


def test_side_by_side_shows_each_result_in_a_view_and_gives_the_layout_back(two, scene, layout):
    first, second = find_runs(scene)
    two.ui.compareCombo.setCurrentIndex(1)
    assert beside(scene) == [(second.heatmap.GetID(), 0.6), (first.heatmap.GetID(), 0.6)]
    assert layout.GetViewArrangement() == 62312
    two.ui.opacitySlider.setValue(0.25)
    assert beside(scene) == [(second.heatmap.GetID(), 0.25), (first.heatmap.GetID(), 0.25)]
    assert not two.ui.blendSlider.isEnabled()
    two.ui.compareCombo.setCurrentIndex(0)
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert [shown for shown, _opacity in beside(scene)] == [None, None]


def test_a_blend_weighs_the_results_by_the_slider(two, scene, view, cases):
    before = len(cases.served.requests)
    two.ui.compareCombo.setCurrentIndex(2)
    blended = scene.GetNodeByID(view.GetForegroundVolumeID())
    assert blended.GetName().endswith("blended")
    assert two.ui.blendSlider.isEnabled()

    def warmest() -> float:
        return float(slicer.util.arrayFromVolume(blended)[3, 4, 5])

    # 0.9 with the thresholds 0.2 (shown) and 0.4 (the other), each divided by its threshold.
    shown, other = 0.9 / 0.2, 0.9 / 0.4
    assert warmest() == pytest.approx((shown + other) / 2, rel=1e-5)
    two.ui.blendSlider.setValue(0.75)
    assert warmest() == pytest.approx(0.75 * shown + 0.25 * other, rel=1e-5)
    two.ui.blendSlider.setValue(1.0)
    assert warmest() == pytest.approx(shown, rel=1e-5)
    assert np.isnan(slicer.util.arrayFromVolume(blended)[7]).all()
    two.ui.opacitySlider.setValue(0.25)
    assert view.GetForegroundOpacity() == pytest.approx(0.25)
    two.ui.compareCombo.setCurrentIndex(0)
    assert blended.GetScene() is None
    assert view.GetForegroundVolumeID() == find_runs(scene)[1].heatmap.GetID()
    assert len(cases.served.requests) == before


@pytest.mark.parametrize("mode", [1, 2])
def test_another_result_or_case_ends_the_comparison(two, scene, layout, mode):
    first, _second = find_runs(scene)
    two.ui.compareCombo.setCurrentIndex(mode)
    two.ui.runCombo.setCurrentText(first.name)
    assert two.presenter.state.compared == 0
    assert two.ui.compareCombo.currentIndex() == 0
    two.ui.compareCombo.setCurrentIndex(mode)
    open_case(two, "b")
    assert two.presenter.state.compared == 0
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert [
        node.GetName() for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode") if "blended" in node.GetName()
    ] == []


def test_what_is_decided_stays_with_each_result(two):
    two.ui.findingsTable.setCurrentCell(0, 0)
    two.act("review.accept")
    settle(two)
    names = [two.ui.runCombo.itemText(place) for place in range(2)]
    two.ui.runCombo.setCurrentText(names[0])
    assert [row.status for row in two.presenter.state.findings.rows] == ["accepted", "open", "open"]
