"""What is asked of the server: anatomy, method, model, words, image."""

from __future__ import annotations

from panel_examples import connect, lines, pick_volume, settle


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


def test_a_run_sends_the_edited_prompts_and_shows_its_findings(widget, server, scene):
    connect(widget, server)
    widget.ui.positivePrompts.setPlainText("Cyst\n\n  Bleeding \n")
    pick_volume(widget, scene)
    widget.ui.runButton.click()
    assert not widget.ui.runButton.isEnabled()
    assert widget.ui.cancelButton.isEnabled()
    assert not widget.ui.progressBar.isHidden()
    settle(widget)
    body = server.asked("POST")[0].body.decode("latin-1")
    assert '"positive": ["Cyst", "Bleeding"]' in body
    assert lines(widget.ui.findingsTable)[0] == ["1", "anomaly", "0.90", "", "108", "3", "clap", "open"]
    assert widget.ui.findingsTable.rowCount() == 3
    assert widget.ui.progressBar.isHidden()
    assert "Not calibrated" in widget.ui.warningsLabel.text()
    assert not widget.ui.warningsLabel.isHidden()
    assert "% of the image was not looked at" in widget.ui.unseenLabel.text()


def test_an_empty_prompt_is_refused_before_anything_is_sent(widget, server):
    connect(widget, server)
    widget.ui.negativePrompts.setPlainText(" \n")
    widget.ui.runButton.click()
    assert "prompt field is empty" in widget.ui.noticeLabel.text()
    assert "at least one line" in widget.ui.noticeLabel.text()
    assert server.asked("POST") == []


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


def test_a_model_that_is_not_trained_yet_is_said_in_plain_words(widget, server, scene):
    detail = "No model is trained for 'brain_mri' yet (trained: liver_ct). Train it first: POST /train/..."
    server.answer_json("/infer/few_shot_localization", {"detail": detail}, 422, "POST")
    connect(widget, server)
    widget.ui.taskCombo.setCurrentText("few_shot_localization")
    pick_volume(widget, scene)
    widget.ui.runButton.click()
    settle(widget)
    assert widget.ui.noticeLabel.text().startswith(detail)
    assert "ask who runs the server" in widget.ui.noticeLabel.text()
    assert '"trained"' not in server.asked("POST")[0].body.decode("latin-1")
