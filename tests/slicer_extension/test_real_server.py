"""The panel's acts against the real server: studies, a volume of the scene, a compact answer, refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import RequestRefusedError, RunCancelledError
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.scene.geometry import ijk_to_ras, same_grid
from AnomaLabelLib.scene.layers import Layer, read_layers
from AnomaLabelLib.scene.runs import find_runs
from AnomaLabelLib.server.client import Client
from AnomaLabelLib.server.parameters import RunParameters
from example_results import volume_node
from panel_examples import Reader
from slicer_headless.panel import panel_widget, wait_for

WARM_UP_S = 90
RUN_S = 60


class Panel:
    """A presenter that waits for its jobs."""

    def __init__(self, scene, folder) -> None:
        self.presenter = Presenter(scene, lambda state: None, folder)

    def finish(self) -> None:
        end = time.monotonic() + RUN_S
        while self.presenter.busy and time.monotonic() < end:
            self.presenter.tick()
        assert not self.presenter.busy

    @property
    def state(self):
        return self.presenter.state


@pytest.fixture
def panel(scene, running_server, tmp_path):
    """A connected panel whose server is warm."""
    made = Panel(scene, tmp_path / "kept")
    end = time.monotonic() + WARM_UP_S
    while time.monotonic() < end:
        made.presenter.connect(running_server.url)
        made.finish()
        if made.state.server is not None and not made.state.server.waiting_for:
            return made
        time.sleep(0.2)
    raise AssertionError(made.state.server_notice)


@pytest.fixture
def parameters(panel) -> RunParameters:
    server = panel.state.server
    return RunParameters("clap_attention", server.configs[0].name, server.backbones[0])


@pytest.fixture
def study(panel) -> str:
    return panel.state.server.studies[0]


def run_on_study(panel, study: str, parameters: RunParameters):
    panel.presenter.asking.on_study(study, parameters)
    panel.finish()
    assert not panel.state.notice.is_error, panel.state.notice
    return find_runs(panel.presenter._scene)[-1]


def test_the_server_says_what_can_be_chosen(panel):
    server = panel.state.server
    assert "clap_attention" in server.tasks
    assert "brain_mri" in {config.name for config in server.configs}
    assert all(config.positive and config.negative for config in server.configs)
    assert server.backbones
    assert server.studies


def test_every_study_comes_back_on_its_own_grid(panel, parameters):
    for study in panel.state.server.studies:
        run = run_on_study(panel, study, parameters)
        assert run.source.GetName() == study
        assert same_grid(run.heatmap, run.source)
        values = slicer.util.arrayFromVolume(run.heatmap)
        assert values.dtype == np.float32
        assert np.nanmin(values) == pytest.approx(run.report.heatmap.minimum, abs=1e-5)
        assert np.nanmax(values) == pytest.approx(run.report.heatmap.maximum, abs=1e-5)
        for finding, box in zip(run.report.findings, run.boxes, strict=True):
            i, j, k = finding.peak_index
            assert values[k, j, i] == pytest.approx(finding.score, abs=1e-5)
            middle = (np.array(finding.index_min) + np.array(finding.index_max)) / 2
            center = slicer.util.arrayFromVTKMatrix(box.GetObjectToNodeMatrix())[:3, 3]
            np.testing.assert_allclose(center, (ijk_to_ras(run.heatmap) @ [*middle, 1])[:3], atol=1e-3)


def test_a_volume_of_the_scene_is_sent_and_answered(panel, parameters, study):
    source = run_on_study(panel, study, parameters).source
    panel.presenter.asking.on_volume(source, parameters)
    panel.finish()
    assert not panel.state.notice.is_error, panel.state.notice
    run = find_runs(panel.presenter._scene)[-1]
    assert run.source is source
    assert same_grid(run.heatmap, source)
    np.testing.assert_array_equal(ijk_to_ras(run.heatmap).round(4), ijk_to_ras(source).round(4))


def test_a_compact_answer_says_the_same(panel, parameters, study):
    full = run_on_study(panel, study, parameters)
    small = run_on_study(panel, study, RunParameters(**{**vars(parameters), "compact": True}))
    first, second = (slicer.util.arrayFromVolume(run.heatmap) for run in (full, small))
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    assert np.nanmax(np.abs(first - second)) <= abs(small.report.heatmap.slope)


@pytest.mark.parametrize(
    "changes",
    [{"backbone": "no_such_model"}, {"config": "no_such_config"}, {"positive": ("",)}, {"task": "no_such_task"}],
)
def test_refusals_come_with_the_servers_words(panel, parameters, study, changes):
    panel.presenter.asking.on_study(study, RunParameters(**{**vars(parameters), **changes}))
    panel.finish()
    assert panel.state.notice.is_error
    assert len(panel.state.notice.cause) > 20
    assert find_runs(panel.presenter._scene) == []


@pytest.mark.parametrize("study", ["../secret", "no such study"])
def test_studies_that_are_none(running_server, panel, parameters, study):
    client = Client(running_server.url)
    with pytest.raises(RequestRefusedError):
        client.infer(parameters, "11111111-1111-4111-8111-111111111111", study)
    with pytest.raises(RequestRefusedError):
        client.download_study(study)


def test_cancelling_ends_the_run_and_leaves_no_node(panel, parameters, study):
    panel.presenter.asking.on_study(study, parameters)
    panel.presenter.cancel()
    panel.finish()
    assert panel.state.notice.cause == str(RunCancelledError().cause)
    assert find_runs(panel.presenter._scene) == []


def test_a_case_is_reviewed_and_the_server_has_each_act(scene, running_server, panel, tmp_path):
    server = panel.state.server
    parameters = RunParameters("clap_attention", "brain_mri", server.backbones[0])
    reader = Reader(scene, tmp_path / "dora", "dora", parameters)
    reader.connect(running_server)
    reader.open("axial")
    assert reader.state.case.image == "axial", reader.state.notice
    finding_id = reader.rows[0].finding.id
    reader.select(finding_id)
    reader.press("review.accept")
    reader.select(finding_id)
    reader.press("editing.toggle")
    box = reader.presenter.editing.box
    box.SetSize(*(1.5 * np.array(box.GetSize())))
    reader.press("editing.toggle")
    reader.select(finding_id)
    reader.press("correction.grow")
    reader.press("correction.send")
    reader.press("review.case_abnormal")
    reader.press("review.toggle_second_reader")
    reader.press("review.undo")
    reader.wait(1)
    assert reader.state.outbox.refused == 0, reader.state.outbox.reasons
    assert reader.state.outbox.pending == 0
    events = [each for each in Client(running_server.url).reviews("axial").events if each["reviewer"] == "dora"]
    actions = ["accepted", "edited", "segmented", "case_abnormal", "second_reader", "second_reader_withdrawn"]
    assert [event["action"] for event in events] == actions
    assert events[1]["after"]["index_max"] != events[1]["before"]["index_max"]
    assert events[2]["after"]["finding_ids"] == [finding_id]
    mine = next(case for case in reader.state.worklist.cases if case.image == "axial")
    assert mine.lease.mine
    assert mine.reviewer == "dora"
    assert mine.score("clap_attention").findings >= 1
    again = Reader(scene, tmp_path / "again", "dora", parameters, client_id=reader.presenter.settings.client_id)
    again.connect(running_server)
    again.open("axial")
    assert again.statuses()[finding_id] == "accepted"
    assert again.state.case.verdict == "abnormal"
    again.press("cases.close")


def test_the_panel_shows_what_a_trained_model_says_and_how_sure_it_is(
    headless, scene, tmp_path, trained_server, planted
):
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    with panel_widget(headless, tmp_path / "settings.ini") as widget:
        ui = widget.ui
        ui.serverAddress.setEditText(trained_server.url)
        ui.testConnectionButton.click()
        assert wait_for(lambda: not widget.presenter.busy, RUN_S)
        ui.taskCombo.setCurrentText("few_shot_localization")
        ui.configCombo.setCurrentText("Breast ultrasound")
        assert ui.backboneCombo.currentText() == "breast_ultrasound"
        assert ui.trainedLabel.text().startswith("Learned from 4 healthy images, 20")
        ui.volumeRadio.setChecked(True)
        ui.volumeSelector.setCurrentNode(volume_node(scene, planted[None], np.eye(4)))
        ui.runButton.click()
        assert wait_for(lambda: not widget.presenter.busy, RUN_S)
        assert not widget.presenter.state.notice.is_error, widget.presenter.state.notice
        (run,) = find_runs(scene)
        assert run.report.method == "few_shot"
        assert run.report.image_score > run.report.image_threshold.value
        score, limit = f"{run.report.image_score:.2f}", f"{run.report.image_threshold.value:.2f}"
        scored = f"This image scores {score}; healthy images here usually stay below {limit} ("
        assert ui.imageScoreLabel.text().startswith(scored)
        assert "4 held-out healthy images" in ui.imageScoreLabel.text()
        assert same_grid(run.maps["uncertainty"], run.source)
        i, j, _k = run.report.findings[0].peak_index
        assert (planted[max(j - 8, 0) : j + 9, max(i - 8, 0) : i + 9] == 250).any()
        assert ui.findingsTable.item(0, 3).text() == f"{run.report.findings[0].uncertainty:.2f}"
        assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
        ui.uncertaintyCheck.setChecked(True)
        assert composite.GetForegroundVolumeID() == run.heatmap.GetID()
        assert read_layers(composite).further == (Layer(run.maps["uncertainty"].GetID(), 0.6),)
