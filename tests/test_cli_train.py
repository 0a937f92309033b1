"""`anomalabel train few-shot` and what `detect` and `evaluate` do with it, as typed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import pytest
from PIL import Image

from anomalabel import cli
from anomalabel.model_folder import read_description

MESSAGE = re.compile(r"error: \S.*\.")


class Run:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def anomalabel(monkeypatch, capsys) -> Callable[..., Run]:
    """The command line in this process."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["anomalabel", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Run(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def options(few_shot_files, tmp_path) -> list[str | Path]:
    """Of a training of six pictures."""
    files = few_shot_files
    named = ["--config", files.config, "--model", files.encoder, "--device", "cpu"]
    return [*named, "--healthy", files.healthy, "--shots", "6", "--epochs", "1", "--out", tmp_path / "model"]


def assert_refused(run: Run, *words: str) -> None:
    """One line on stderr that holds the words, and exit code 2."""
    assert run.code == 2
    assert MESSAGE.fullmatch(run.err.strip("\n")), run.err
    for word in words:
        assert word in run.err


def test_a_name_that_means_no_image_is_refused(anomalabel, options, tmp_path):
    run = anomalabel("train", "few-shot", *options, "--abnormal", "nosuch")
    assert_refused(run, "--abnormal nosuch names no image")
    assert not (tmp_path / "model").exists()


def test_a_model_that_is_not_there_is_named(anomalabel, few_shot_files, tmp_path):
    image = few_shot_files.healthy / "2.png"
    run = anomalabel(
        "detect",
        image,
        "--method",
        "few_shot",
        "--model",
        tmp_path / "nomodel",
        "--out",
        tmp_path,
        "--config",
        few_shot_files.config,
    )
    assert_refused(run, "There is no model", "nomodel")


def test_train_then_detect(anomalabel, options, few_shot_files, tmp_path):
    shutil.copy(few_shot_files.healthy / "2.png", few_shot_files.healthy / "twin.png")
    trained = anomalabel("train", "few-shot", *options, "--abnormal", "5")
    assert (trained.code, trained.err) == (0, "")
    description = read_description(tmp_path / "model")
    assert "left out: twin.png: it is the same image as 2.png" in trained.out
    assert "left out: 5.png: it is named as abnormal" in trained.out
    assert f"learned from 6 healthy images: {', '.join(one.name for one in description.healthy)}" in trained.out
    for threshold in description.thresholds.values():
        assert f"threshold, {threshold.rule}" in trained.out
    assert f"held_out_score_mean: {description.metrics['held_out_score_mean']:.3f}" in trained.out
    assert f"written: {tmp_path / 'model'}" in trained.out
    sick = few_shot_files.draw(tmp_path / "sick.png", 33, planted=True)
    how = ["--method", "few_shot", "--model", tmp_path / "model", "--config", "tissue", "--device", "cpu"]
    detected = anomalabel("detect", sick, *how, "--out", tmp_path / "out")
    assert detected.code == 0, detected.err
    heatmap, uncertainty = (
        nrrd.read(str(tmp_path / "out" / f"sick.{kind}.nrrd")) for kind in ("heatmap", "uncertainty")
    )
    assert heatmap[0].shape == uncertainty[0].shape
    assert np.nanmax(uncertainty[0]) <= 0.5
    findings = json.loads((tmp_path / "out" / "sick.findings.json").read_text())
    assert findings["method"] == "few_shot"
    assert findings["model"]["weights_sha256"] == description.weights_sha256
    assert findings["calibrated"] is True
    assert findings["threshold"]["rule"] == description.thresholds["pixel"].rule
    # A method without uncertainty leaves none of an earlier run beside its own heatmap.
    intensity = ["--method", "intensity", "--config", few_shot_files.config, "--device", "cpu"]
    assert anomalabel("detect", sick, *intensity, "--out", tmp_path / "out").code == 0
    assert not (tmp_path / "out" / "sick.uncertainty.nrrd").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--shots", "11"], ["10 healthy images can be learned from, and 11 shots are wanted"]),
        (["--shots", "1"], ["shots", "greater than or equal to 2"]),
        (["--config", "nothing"], ["There is no config 'nothing'"]),
        (["--model", "nothing"], ["There is no model 'nothing'"]),
        (["--healthy", "/nowhere"], ["/nowhere"]),
        (["--seed", "-1"], ["seed", "greater than or equal to 0"]),
        (["--seed", "4294967296"], ["seed"]),
        (["--epochs", "0"], ["epochs", "greater than or equal to 1"]),
        (["--device", "cuda:9"], ["cuda:9"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(anomalabel, options, tmp_path, changes, words):
    assert_refused(anomalabel("train", "few-shot", *options, *changes), *words)
    assert not (tmp_path / "model").exists()


def test_a_config_with_a_wrong_switch_names_file_and_key(anomalabel, options, few_shot_files):
    few_shot_files.configure(scales=[2])
    assert_refused(anomalabel("train", "few-shot", *options), "tissue.yaml", "scales must be odd")
    few_shot_files.configure(teacher="x")
    assert_refused(anomalabel("train", "few-shot", *options), "tissue.yaml", "few_shot.teacher")


def test_detecting_with_a_trained_model_of_another_config(anomalabel, options, few_shot_files, tmp_path):
    assert anomalabel("train", "few-shot", *options).code == 0
    how = ["--method", "few_shot", "--model", tmp_path / "model", "--device", "cpu", "--out", tmp_path / "out"]
    sick = few_shot_files.healthy / "0.png"
    assert_refused(anomalabel("detect", sick, *how), "trained for tissue", "--config tissue")
    texts = ["--config", "tissue", "--positive", "a cyst"]
    assert_refused(anomalabel("detect", sick, *how, *texts), "part of what it learned")
    assert not (tmp_path / "out" / "0.findings.json").exists()


def test_evaluating_few_shot_learning(anomalabel, few_shot_files, tmp_path, monkeypatch):
    monkeypatch.setattr("anomalabel.evaluation.evaluate.write_report", lambda content, path: None)
    for number in range(4):
        few_shot_files.draw(tmp_path / "sick" / f"{number}.png", 60 + number, planted=True)
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[16:, :16] = 255
        Image.fromarray(mask).save(tmp_path / "sick" / f"{number}_mask.png")
    few_shot_files.configure(text=False, alignment=False)
    how = ["--config", few_shot_files.config, "--model", few_shot_files.encoder, "--device", "cpu"]
    sets = ["--normal", few_shot_files.healthy, "--abnormal", tmp_path / "sick", "--shots", "4", "--seeds", "1"]
    methods = ["--method", "few_shot", "--resamples", "0", "--out", tmp_path / "out"]
    run = anomalabel("evaluate", *how, *sets, *methods)
    assert run.code == 0, run.err
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["image_auroc"]["mean"] == 1
    assert found["pixel_auroc"]["mean"] > 0.7
    (draw,) = found["protocol"]["draws"]
    assert len(draw["shots"]) == 4
    assert (draw["normal"], draw["abnormal"]) == (6, 4)
