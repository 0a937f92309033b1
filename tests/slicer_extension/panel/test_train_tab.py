"""Training from the panel: start, progress, cancel, result, and the model that is there afterwards."""

from __future__ import annotations

import copy

import pytest
from panel_examples import connect, settle, sign_in
from reviewing_server import REVIEWING_INFO, working

REPORT = {
    "model": "brain_mri",
    "shots_used": 12,
    "left_out": [{"image": "torn.png", "reason": "it is cut off"}],
    "warnings": ["Only 12 healthy images."],
    "thresholds": {"image": "95 %"},
}


@pytest.fixture
def training(widget, cases):
    """The widgets, connected, with a training started."""
    sign_in(widget, cases)
    ui = widget.ui
    ui.tabs.setCurrentWidget(ui.trainTab)
    ui.healthyEdit.setText(" healthy/brains ")
    ui.startTrainingButton.click()
    settle(widget)
    return widget


def test_what_can_be_trained_and_what_is_trained(widget, cases):
    assert not widget.ui.startTrainingButton.isEnabled()
    sign_in(widget, cases)
    ui = widget.ui
    tasks = [ui.trainTaskCombo.itemText(place) for place in range(ui.trainTaskCombo.count())]
    assert tasks == ["few_shot_localization", "unet_reconstruction"]
    assert ui.modelsLabel.text() == (
        "Trained models:\n"
        "few_shot_localization / liver_ct: 16 healthy images, 2025-03-04T05:06\n"
        "unet_reconstruction / liver_ct: 120 healthy images, 2025-04-05T06:07"
    )


def test_a_training_is_started_and_its_progress_shown(training, cases):
    ui = training.ui
    assert cases.asked["train"] == {"config": "brain_mri", "healthy": "healthy/brains"}
    assert (
        ui.trainingLabel.text() == "few_shot_localization for brain_mri: learning, 25 %, about 2 min left in this step"
    )
    assert not ui.trainingBar.isHidden()
    assert (ui.trainingBar.maximum(), ui.trainingBar.value()) == (4, 1)
    assert not ui.startTrainingButton.isEnabled()
    cases.work["train"] = working("few_shot_localization", {"config": "brain_mri"}, done=3, percent=75, seconds_left=30)
    training.presenter.training._asked_at = float("-inf")
    training.presenter.heartbeat()
    settle(training)
    assert ui.trainingLabel.text().endswith("75 %, about 30 s left in this step")
    assert ui.trainingBar.value() == 3


def test_a_second_training_is_refused_in_the_servers_words(training, cases):
    training.presenter.training.start("unet_reconstruction", {"config": "liver_ct"})
    settle(training)
    assert training.ui.trainingNotice.text().startswith("few_shot_localization is running. Wait for its end")


def test_cancel_ends_it(training, cases):
    training.ui.cancelTrainingButton.click()
    settle(training)
    assert training.ui.trainingLabel.text() == "few_shot_localization for brain_mri: Cancelled after 1 of 4 steps."
    assert training.ui.trainingBar.isHidden()
    assert training.ui.startTrainingButton.isEnabled()


def test_the_new_model_can_be_chosen_at_its_end_and_the_tab_stays(training, cases):
    info = copy.deepcopy(REVIEWING_INFO)
    info["anomalabel"]["trained"].append(
        {
            "task": "few_shot_localization",
            "name": "brain_mri",
            "config": "brain_mri",
            "shots": 12,
            "created": "2025-05-06T07:08:09",
            "problem": "",
        }
    )
    cases.served.answer_json("/info/", info)
    cases.work["train"] = working(
        "few_shot_localization", {"config": "brain_mri"}, status="DONE", details=["Saved as brain_mri."], report=REPORT
    )
    training.presenter.training.refresh()
    settle(training)
    ui = training.ui
    assert ui.trainingLabel.text() == (
        "few_shot_localization for brain_mri: Saved as brain_mri.\n"
        "Learned from 12 healthy images.\n"
        "Left out 1 images.\n"
        "\u26a0 Only 12 healthy images."
    )
    assert "few_shot_localization / brain_mri: 12 healthy images, 2025-05-06T07:08" in ui.modelsLabel.text()
    assert ui.tabs.currentWidget() is ui.trainTab
    ui.taskCombo.setCurrentText("few_shot_localization")
    assert ui.backboneCombo.currentText() == "brain_mri"
    assert ui.trainedLabel.text() == "Learned from 12 healthy images, 2025-05-06."


def test_a_failed_training_says_why(training, cases):
    cases.work["train"] = working(
        "few_shot_localization", {"config": "brain_mri"}, status="ERROR", error="3 healthy images are too few."
    )
    training.presenter.training.refresh()
    settle(training)
    assert (
        training.ui.trainingLabel.text() == "few_shot_localization for brain_mri failed: 3 healthy images are too few."
    )


def test_a_training_that_runs_already_is_shown_when_the_panel_connects(widget, cases):
    cases.work["train"] = working("unet_reconstruction", {"config": "liver_ct"})
    connect(widget, cases)
    assert widget.ui.trainingLabel.text().startswith("unet_reconstruction for liver_ct: learning, 25 %")
    assert widget.ui.cancelTrainingButton.isEnabled()


def test_without_a_server_it_says_so(widget):
    widget.presenter.training.start("few_shot_localization", {"config": "brain_mri"})
    assert widget.ui.trainingNotice.text() == "No server is connected.\nPress Connect first."
