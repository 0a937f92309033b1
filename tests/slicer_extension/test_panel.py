"""The panel's file and its real widget code, drawn offscreen by PySide6."""

from __future__ import annotations

import ast
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from AnomaLabelLib.panel.summary import decimals_for
from AnomaLabelLib.scene.heatmap import shown_threshold
from AnomaLabelLib.scene.runs import find_runs
from example_results import affine, finding, nrrd_bytes, report, volume_node
from slicer_headless.scene import MODULE_FOLDER
from small_server import offer_everything, result_reply, small_server

UI_FILE = MODULE_FOLDER / "Resources" / "UI" / "AnomaLabel.ui"
MATRIX = affine((10, 20, -30), (1, 1.5, 2), (4, 5, 6), (-1, 1, 1))
PASSIVE = {"QWidget", "ctkCollapsibleButton"}


def elements_of_ui() -> list[ElementTree.Element]:
    return list(ElementTree.parse(UI_FILE).iter("widget"))  # noqa: S314


def widgets_of_ui() -> dict[str, str]:
    return {each.get("name"): each.get("class") for each in elements_of_ui()}


def names_in_code() -> set[str]:
    """Attributes read from `self.ui` or from `ui`, its short name."""
    tree = ast.parse((MODULE_FOLDER / "AnomaLabel.py").read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            is_ui = isinstance(owner, ast.Name) and owner.id == "ui"
            if is_ui or (isinstance(owner, ast.Attribute) and owner.attr == "ui"):
                names.add(node.attr)
    return names


def values() -> np.ndarray:
    made = np.full((8, 9, 10), -0.2, np.float32)
    made[2:5, 3:6, 4:8] = 0.6
    made[3, 4, 5] = 0.9
    made[7] = np.nan
    return made


def good_reply():
    entries = [
        finding(MATRIX, (4, 3, 2), (7, 5, 4), peak=(5, 4, 3), score=0.9),
        finding(MATRIX, (0, 0, 0), (1, 1, 1), score=0.5),
    ]
    return result_reply(json.dumps(report(values(), entries)), nrrd_bytes(values(), MATRIX))


@pytest.fixture
def widget(headless, tmp_path):
    from slicer_headless.panel import panel_widget

    with panel_widget(headless, tmp_path / "settings.ini") as made:
        yield made


@pytest.fixture
def server():
    with small_server() as served:
        offer_everything(served)
        served.answer("POST", "/infer/clap_attention", good_reply())
        yield served


def finish(widget) -> None:
    """Let the panel's own timer do the work."""
    from slicer_headless.panel import wait_for

    assert wait_for(lambda: not widget.presenter.busy, patience_s=8)


def connect(widget, server) -> None:
    widget.ui.serverAddress.setText(server.url)
    widget.ui.testConnectionButton.click()
    finish(widget)


@pytest.fixture
def shown(widget, server, scene):
    connect(widget, server)
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    finish(widget)
    return widget


def texts_of_row(table, row: int) -> list[str]:
    return [table.item(row, column).text() for column in range(table.columnCount())]


def test_every_widget_the_code_names_is_in_the_file_and_vice_versa():
    widgets = widgets_of_ui()
    acting = {
        name
        for name, kind in widgets.items()
        if kind not in PASSIVE and not name.endswith("Caption") and name != "notClinicalLabel"
    }
    # The second of two exclusive buttons needs no signal of its own.
    assert names_in_code() | {"studyRadio"} == acting


def test_texts_of_servers_and_scenes_are_never_read_as_markup():
    for label in elements_of_ui():
        if label.get("class") == "QLabel" and label.get("name") in names_in_code():
            (form,) = (each.find("enum").text for each in label.iter("property") if each.get("name") == "textFormat")
            assert form == "Qt::PlainText"


def test_the_panel_says_what_it_is_not_for(widget):
    assert widget.ui.notClinicalLabel.text() == "Research software. Not for clinical use."
    assert not widget.ui.notClinicalLabel.isHidden()


def test_connecting_fills_the_lists_and_the_prompts(widget, server):
    assert not widget.ui.runButton.isEnabled()
    connect(widget, server)
    ui = widget.ui
    assert [ui.configCombo.itemText(place) for place in range(2)] == ["Brain MRI", "Liver CT"]
    assert ui.positivePrompts.toPlainText() == "Glioma"
    ui.configCombo.setCurrentText("Liver CT")
    assert ui.positivePrompts.toPlainText() == "Malignant cells"
    assert ui.negativePrompts.toPlainText() == "Benign"
    assert ui.runButton.isEnabled()
    assert "Connected" in ui.serverNotice.text()


def test_connecting_again_keeps_what_the_user_wrote(widget, server):
    connect(widget, server)
    widget.ui.configCombo.setCurrentText("Liver CT")
    widget.ui.positivePrompts.setPlainText("Cyst")
    connect(widget, server)
    assert widget.ui.configCombo.currentText() == "Liver CT"
    assert widget.ui.positivePrompts.toPlainText() == "Cyst"


def test_the_address_is_remembered(headless, widget, server, tmp_path):
    from slicer_headless.panel import panel_widget

    connect(widget, server)
    with panel_widget(headless, tmp_path / "settings.ini") as again:
        assert again.ui.serverAddress.text() == server.url


def test_a_run_sends_the_edited_prompts_and_shows_its_findings(widget, server, scene):
    connect(widget, server)
    widget.ui.positivePrompts.setPlainText("Cyst\n\n  Bleeding \n")
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    assert not widget.ui.runButton.isEnabled()
    assert widget.ui.cancelButton.isEnabled()
    assert not widget.ui.progressBar.isHidden()
    finish(widget)
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"positive": ["Cyst", "Bleeding"]' in body
    assert texts_of_row(widget.ui.findingsTable, 0) == ["anomaly", "0.90", "", "108", "3"]
    assert widget.ui.findingsTable.rowCount() == 2
    assert widget.ui.progressBar.isHidden()
    assert "Not calibrated" in widget.ui.warningsLabel.text()
    assert not widget.ui.warningsLabel.isHidden()
    assert "% of the image was not looked at" in widget.ui.unseenLabel.text()


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
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    finish(widget)
    assert widget.ui.thresholdSlider.property("value") == pytest.approx(0.0003)
    assert texts_of_row(widget.ui.findingsTable, 0)[1] == "0.00090"
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
    finish(shown)
    first, second = (shown.ui.runCombo.itemText(place) for place in range(2))
    assert shown.ui.runCombo.currentText() == second
    shown.ui.runCombo.setCurrentText(first)
    assert shown.presenter.state.run.name == first


def test_an_empty_prompt_is_refused_before_anything_is_sent(widget, server):
    connect(widget, server)
    widget.ui.negativePrompts.setPlainText(" \n")
    widget.ui.runButton.click()
    assert "prompt field is empty" in widget.ui.noticeLabel.text()
    assert "at least one line" in widget.ui.noticeLabel.text()
    assert server.asked("POST") == []


def few_shot_reply(image_score: float = 0.9):
    entries = [{**finding(MATRIX, (4, 3, 2), (7, 5, 4), score=0.9), "uncertainty": 0.125}]
    rule = "99th percentile of 16 held-out healthy images; at most 20 % false positives are promised"
    changes = {
        "image_score": image_score,
        "image_threshold": {"value": 0.75, "rule": f"image: {rule}"},
        "method": "few_shot",
        "config": "liver_ct",
        "model": {"name": "liver_ct", "weights_sha256": "0" * 64},
        "calibrated": True,
        "threshold": {"value": 0.4, "rule": f"pixel: {rule}"},
    }
    text = json.dumps({**report(values(), entries), **changes})
    return result_reply(text, nrrd_bytes(values(), MATRIX), {"uncertainty": nrrd_bytes(np.abs(values()) / 10, MATRIX)})


@pytest.fixture
def learnt(widget, server, scene):
    """The panel after a run of the method that learns from healthy images."""
    server.answer("POST", "/infer/few_shot_localization", few_shot_reply())
    scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    connect(widget, server)
    widget.ui.configCombo.setCurrentText("Liver CT")
    widget.ui.taskCombo.setCurrentText("few_shot_localization")
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    finish(widget)
    assert not widget.presenter.state.notice.is_error, widget.presenter.state.notice
    return widget


def test_a_method_that_learns_takes_its_models_and_no_words(widget, server):
    connect(widget, server)
    ui = widget.ui
    models = [ui.backboneCombo.itemText(place) for place in range(ui.backboneCombo.count())]
    assert models == ["embedded", "biomedclip"]
    assert ui.trainedLabel.isHidden()
    ui.taskCombo.setCurrentText("few_shot_localization")
    assert ui.backboneCombo.count() == 0
    assert ui.trainedLabel.text().startswith("No model is trained for Brain MRI yet.")
    assert not ui.trainedLabel.isHidden()
    assert not ui.positivePrompts.isEnabled()
    ui.configCombo.setCurrentText("Liver CT")
    assert ui.backboneCombo.currentText() == "liver_ct"
    assert ui.trainedLabel.text() == "Learned from 16 healthy images, 2025-03-04."
    ui.taskCombo.setCurrentText("clap_attention")
    assert ui.backboneCombo.currentText() == "embedded"
    assert ui.positivePrompts.isEnabled()
    assert ui.trainedLabel.isHidden()


def test_the_trained_model_is_asked_and_its_answer_is_told_in_words(learnt, server):
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"trained": "liver_ct"' in body
    assert '"uncertainty": true' in body
    assert "positive" not in body
    assert "backbone" not in body
    ui = learnt.ui
    assert ui.modelLabel.text() == "Compared with healthy images by the trained model liver_ct, config liver_ct"
    rule = "99th percentile of 16 held-out healthy images; at most 20 % false positives are promised"
    assert ui.thresholdRuleLabel.text() == f"Threshold: {rule}"
    scores = f"This image scores 0.90; healthy images here usually stay below 0.75 ({rule})."
    assert ui.imageScoreLabel.text() == scores
    assert not ui.imageScoreLabel.isHidden()
    assert texts_of_row(ui.findingsTable, 0) == ["anomaly", "0.90", "0.12", "108", "3"]
    assert "Not calibrated" not in ui.warningsLabel.text()


def test_the_uncertainty_is_shown_in_place_of_the_heatmap(learnt, scene, server):
    (run,) = find_runs(scene)
    composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    before = len(server.requests)
    assert learnt.ui.uncertaintyCheck.isEnabled()
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    learnt.ui.uncertaintyCheck.setChecked(True)
    assert composite.GetForegroundVolumeID() == run.maps["uncertainty"].GetID()
    learnt.ui.opacitySlider.setValue(0.3)
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    learnt.ui.uncertaintyCheck.setChecked(False)
    assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
    assert len(server.requests) == before


def test_a_result_without_uncertainty_cannot_show_it(learnt, scene):
    learnt.ui.uncertaintyCheck.setChecked(True)
    learnt.ui.taskCombo.setCurrentText("clap_attention")
    learnt.ui.runButton.click()
    finish(learnt)
    assert not learnt.ui.uncertaintyCheck.isEnabled()
    run = find_runs(scene)[-1]
    assert scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundVolumeID() == run.heatmap.GetID()


def test_an_image_that_scores_like_healthy_ones_is_not_called_healthy(learnt, server):
    server.answer("POST", "/infer/few_shot_localization", few_shot_reply(image_score=0.75))
    learnt.ui.runButton.click()
    finish(learnt)
    assert learnt.ui.imageScoreLabel.text().startswith("This image scores 0.75; healthy images here usually stay")
    assert learnt.ui.imageScoreLabel.text().endswith(" That is no proof of health.")


def test_a_method_that_was_not_calibrated_says_nothing_of_the_whole_image(shown):
    assert shown.ui.imageScoreLabel.text() == ""
    assert shown.ui.imageScoreLabel.isHidden()


def reconstruction_reply(*kinds: str):
    changes = {"method": "reconstruction", "config": "liver_ct", "model": {"name": "m", "weights_sha256": "0" * 64}}
    text = json.dumps({**report(values(), []), **changes})
    maps = {kind: nrrd_bytes(np.abs(values()), MATRIX) for kind in kinds}
    return result_reply(text, nrrd_bytes(values(), MATRIX), maps)


@pytest.fixture
def restored(widget, server, scene):
    """The panel after a run of the method that restores images as it believes them healthy."""
    server.answer("POST", "/infer/unet_reconstruction", reconstruction_reply("saliency", "reconstruction"))
    scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    connect(widget, server)
    widget.ui.configCombo.setCurrentText("Liver CT")
    widget.ui.taskCombo.setCurrentText("unet_reconstruction")
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    finish(widget)
    assert not widget.presenter.state.notice.is_error, widget.presenter.state.notice
    return widget


def test_the_method_that_restores_has_a_model_of_its_own(restored, server):
    ui = restored.ui
    assert ui.backboneCombo.currentText() == "liver_ct"
    assert ui.trainedLabel.text() == "Learned from 120 healthy images, 2025-04-05."
    assert not ui.positivePrompts.isEnabled()
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"saliency": true, "reconstruction": true' in body
    assert "uncertainty" not in body
    assert ui.modelLabel.text() == "Compared with what the trained model m believes healthy, config liver_ct"
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
    server.answer("POST", "/infer/unet_reconstruction", reconstruction_reply("reconstruction"))
    ui.runButton.click()
    finish(restored)
    assert ui.saliencyCheck.isHidden()
    assert not ui.reconstructionCheck.isHidden()
    assert composite.GetForegroundVolumeID() == find_runs(scene)[-1].heatmap.GetID()
    ui.taskCombo.setCurrentText("clap_attention")
    ui.runButton.click()
    finish(restored)
    assert ui.saliencyCheck.isHidden()
    assert ui.reconstructionCheck.isHidden()
    first = ui.runCombo.itemText(0)
    ui.runCombo.setCurrentText(first)
    assert not ui.saliencyCheck.isHidden()
    assert composite.GetForegroundVolumeID() == find_runs(scene)[0].maps["saliency"].GetID()
    scene.Clear(False)
    assert ui.saliencyCheck.isHidden()
    assert ui.reconstructionCheck.isHidden()


def test_a_model_that_is_not_trained_yet_is_said_in_plain_words(widget, server, scene):
    detail = "No model is trained for 'brain_mri' yet (trained: liver_ct). Train it first: POST /train/..."
    server.answer_json("/infer/few_shot_localization", {"detail": detail}, 422, "POST")
    connect(widget, server)
    widget.ui.taskCombo.setCurrentText("few_shot_localization")
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones((8, 9, 10), np.int16), MATRIX))
    widget.ui.runButton.click()
    finish(widget)
    assert widget.ui.noticeLabel.text().startswith(detail)
    assert "ask who runs the server" in widget.ui.noticeLabel.text()
    assert '"trained"' not in server.asked("POST")[0].body.decode("latin-1")


def test_errors_stand_in_the_panel_with_cause_and_remedy(widget, server):
    widget.ui.serverAddress.setText("http://127.0.0.1:1")
    widget.ui.testConnectionButton.click()
    finish(widget)
    cause, remedy = widget.ui.serverNotice.text().split("\n")
    assert "cannot be reached" in cause
    assert "server runs" in remedy
    assert "#f8d7da" in widget.ui.serverNotice.styleSheet()
    connect(widget, server)
    assert "#f8d7da" not in widget.ui.serverNotice.styleSheet()


def test_closing_the_scene_empties_the_result(shown, scene):
    scene.Clear(False)
    assert shown.ui.findingsTable.rowCount() == 0
    assert shown.presenter.state.run is None


def test_the_panel_can_be_drawn(shown, tmp_path):
    shown.parent.resize(420, 900)
    picture = shown.parent.grab().toImage()
    colors = {picture.pixelColor(x, y).name() for x in range(0, 420, 3) for y in range(0, 900, 3)}
    assert "#fff3cd" in colors, "the warning is drawn"
    assert len(colors) > 20
