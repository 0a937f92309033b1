"""Sliders, check boxes and texts of the shown result."""

from __future__ import annotations

import json

import numpy as np
import pytest
from AnomaLabelLib.panel.summary import decimals_for
from AnomaLabelLib.scene.heatmap import shown_threshold
from AnomaLabelLib.scene.layers import Layer, read_layers
from AnomaLabelLib.scene.runs import find_runs
from example_results import finding, nrrd_bytes, report
from panel_examples import MATRIX, connect, few_shot_answer, lines, pick_volume, reconstruction_answer, settle, values
from small_server import result_reply


def test_the_slider_moves_the_overlay_and_asks_nothing(shown, server, scene):
    before = len(server.requests)
    shown.ui.thresholdSlider.setValue(0.75)
    (run,) = find_runs(scene)
    assert shown_threshold(run.heatmap) == pytest.approx(0.75)
    assert len(server.requests) == before


@pytest.mark.parametrize(("span", "decimals"), [(2.0, 2), (1.0, 2), (0.5, 3), (0.02, 4), (1e-5, 7), (1e-12, 8), (0, 2)])
def test_small_values_get_the_digits_they_need(span, decimals):
    assert decimals_for(span) == decimals


def test_a_map_of_small_values_has_a_usable_slider(widget, server, scene):
    small = values() * np.float32(0.001)
    text = json.dumps(report(small, [finding(MATRIX, (4, 3, 2), (7, 5, 4), score=0.0009)], threshold=0.0003))
    server.answer("POST", "/infer/clap_attention", result_reply(text, nrrd_bytes(small, MATRIX)))
    connect(widget, server)
    pick_volume(widget, scene)
    widget.ui.runButton.click()
    settle(widget)
    assert widget.ui.thresholdSlider.property("value") == pytest.approx(0.0003)
    assert lines(widget.ui.findingsTable)[0][2] == "0.00090"
    widget.ui.thresholdSlider.setValue(0.00045)
    assert shown_threshold(find_runs(scene)[0].heatmap) == pytest.approx(0.00045)


def test_choosing_a_finding_jumps_to_its_peak(shown, scene):
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    shown.ui.findingsTable.setCurrentCell(0, 0)
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), (MATRIX @ [5, 4, 3, 1.0])[:3], atol=1e-3)
    shown.ui.findingsTable.setCurrentCell(1, 0)
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), (MATRIX @ [0, 0, 0, 1.0])[:3], atol=1e-3)


def test_hiding_and_deleting(shown, scene):
    (run,) = find_runs(scene)
    shown.ui.boxesCheck.setChecked(False)
    assert not run.boxes[0].GetDisplayNode().GetVisibility()
    shown.ui.deleteRunButton.click()
    assert find_runs(scene) == []
    assert shown.ui.findingsTable.rowCount() == 0
    assert not shown.ui.thresholdSlider.isEnabled()
    assert shown.ui.unseenLabel.text() == ""


def test_results_are_chosen_by_name(shown, scene):
    shown.ui.runButton.click()
    settle(shown)
    first, second = (shown.ui.runCombo.itemText(place) for place in range(2))
    assert shown.ui.runCombo.currentText() == second
    shown.ui.runCombo.setCurrentText(first)
    assert shown.presenter.state.run.name == first


def test_the_trained_model_is_asked_and_its_answer_is_told_in_words(learnt, server):
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"trained": "liver_ct"' in body
    assert '"uncertainty": true' in body
    assert "positive" not in body
    assert "backbone" not in body
    ui = learnt.ui
    assert (
        ui.modelLabel.text()
        == "Compared with healthy images by the trained model liver_ct, config liver_ct, version 00000000"
    )
    rule = "99th percentile of 16 held-out healthy images; at most 20 % false positives are promised"
    assert ui.thresholdRuleLabel.text() == f"Threshold: {rule}"
    scores = f"This image scores 0.90; healthy images here usually stay below 0.75 ({rule})."
    assert ui.imageScoreLabel.text() == scores
    assert not ui.imageScoreLabel.isHidden()
    assert lines(ui.findingsTable)[0] == ["1", "anomaly", "0.90", "0.12", "108", "3", "few_shot", "open"]
    assert "Not calibrated" not in ui.warningsLabel.text()


def test_the_uncertainty_is_shown_over_the_heatmap(learnt, scene, server):
    (run,) = find_runs(scene)
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    before = len(server.requests)
    assert learnt.ui.uncertaintyCheck.isEnabled()
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    learnt.ui.uncertaintyCheck.setChecked(True)
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    assert read_layers(composite).further == (Layer(run.maps["uncertainty"].GetID(), 0.6),)
    assert not learnt.ui.uncertaintyLegendLabel.isHidden()
    assert learnt.ui.uncertaintyLegendNote.text().startswith("Uncertainty. Where the method is unsure")
    learnt.ui.opacitySlider.setValue(0.3)
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    learnt.ui.heatmapCheck.setChecked(False)
    assert composite.GetForegroundVolumeID() is None
    assert [layer.volume_id for layer in read_layers(composite).further] == [run.maps["uncertainty"].GetID()]
    learnt.ui.heatmapCheck.setChecked(True)
    learnt.ui.uncertaintyCheck.setChecked(False)
    assert learnt.ui.uncertaintyLegendLabel.isHidden()
    assert read_layers(composite).further == ()
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    assert len(server.requests) == before


def test_a_result_without_uncertainty_cannot_show_it(learnt, scene):
    learnt.ui.uncertaintyCheck.setChecked(True)
    learnt.ui.taskCombo.setCurrentText("clap_attention")
    learnt.ui.runButton.click()
    settle(learnt)
    assert not learnt.ui.uncertaintyCheck.isEnabled()
    assert learnt.ui.uncertaintyLegendLabel.isHidden()
    run = find_runs(scene)[-1]
    assert scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundVolumeID() == run.heatmap.GetID()


def test_an_image_that_scores_like_healthy_ones_is_not_called_healthy(learnt, server):
    server.answer("POST", "/infer/few_shot_localization", few_shot_answer(image_score=0.75))
    learnt.ui.runButton.click()
    settle(learnt)
    assert learnt.ui.imageScoreLabel.text().startswith("This image scores 0.75; healthy images here usually stay")
    assert learnt.ui.imageScoreLabel.text().endswith(" That is no proof of health.")


def test_a_method_that_was_not_calibrated_says_nothing_of_the_whole_image(shown):
    assert shown.ui.imageScoreLabel.text() == ""
    assert shown.ui.imageScoreLabel.isHidden()


def test_the_method_that_restores_has_a_model_of_its_own(restored, server):
    ui = restored.ui
    assert ui.backboneCombo.currentText() == "liver_ct"
    assert ui.trainedLabel.text() == "Learned from 120 healthy images, 2025-04-05."
    assert not ui.positivePrompts.isEnabled()
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"saliency": true, "reconstruction": true' in body
    assert "uncertainty" not in body
    assert (
        ui.modelLabel.text()
        == "Compared with what the trained model m believes healthy, config liver_ct, version 00000000"
    )
    ui.taskCombo.setCurrentText("few_shot_localization")
    assert ui.trainedLabel.text() == "Learned from 16 healthy images, 2025-03-04."


def test_what_it_believes_healthy_stands_for_the_image_and_where_it_looked_for_the_heatmap(restored, scene, server):
    (run,) = find_runs(scene)
    ui, composite = restored.ui, scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    before = len(server.requests)

    def shown() -> tuple[str, float]:
        return composite.GetForegroundVolumeID(), pytest.approx(composite.GetForegroundOpacity())

    assert not ui.reconstructionCheck.isHidden()
    assert not ui.saliencyCheck.isHidden()
    assert not ui.uncertaintyCheck.isEnabled()
    ui.opacitySlider.setValue(0.5)
    assert shown() == (run.heatmap.GetID(), 0.5)
    ui.reconstructionCheck.setChecked(True)
    assert shown() == (run.maps["reconstruction"].GetID(), 1.0)
    ui.opacitySlider.setValue(0.25)
    assert shown() == (run.maps["reconstruction"].GetID(), 1.0)
    ui.saliencyCheck.setChecked(True)
    assert not ui.reconstructionCheck.isChecked()
    assert shown() == (run.maps["saliency"].GetID(), 0.25)
    ui.opacitySlider.setValue(0.75)
    assert shown() == (run.maps["saliency"].GetID(), 0.75)
    ui.heatmapCheck.setChecked(False)
    assert shown() == (run.maps["saliency"].GetID(), 0.75)
    ui.heatmapCheck.setChecked(True)
    ui.saliencyCheck.setChecked(False)
    assert shown() == (run.heatmap.GetID(), 0.75)
    assert len(server.requests) == before


def test_maps_that_a_result_lacks_are_hidden_and_the_heatmap_comes_back(restored, scene, server):
    ui, composite = restored.ui, scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    ui.saliencyCheck.setChecked(True)
    server.answer("POST", "/infer/unet_reconstruction", reconstruction_answer("reconstruction"))
    ui.runButton.click()
    settle(restored)
    assert ui.saliencyCheck.isHidden()
    assert not ui.reconstructionCheck.isHidden()
    assert composite.GetForegroundVolumeID() == find_runs(scene)[-1].heatmap.GetID()
    ui.taskCombo.setCurrentText("clap_attention")
    ui.runButton.click()
    settle(restored)
    assert ui.saliencyCheck.isHidden()
    assert ui.reconstructionCheck.isHidden()
    first = ui.runCombo.itemText(0)
    ui.runCombo.setCurrentText(first)
    assert not ui.saliencyCheck.isHidden()
    assert composite.GetForegroundVolumeID() == find_runs(scene)[0].maps["saliency"].GetID()
    scene.Clear(False)
    assert ui.saliencyCheck.isHidden()
    assert ui.reconstructionCheck.isHidden()


def test_closing_the_scene_empties_the_result(shown, scene):
    scene.Clear(False)
    assert shown.ui.findingsTable.rowCount() == 0
    assert shown.presenter.state.run is None
