"""`anomalabel evaluate`: two files and code 0; one line and code 2 for bad input; 130 when stopped."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel import cli
from anomalabel.evaluation import evaluate as evaluation

MESSAGE = re.compile(r"error: \S.*\.")


class Run:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path) -> Callable[..., Run]:
    """`anomalabel evaluate` in this process, into tmp_path / "out"."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str | Path) -> Run:
        command = ["anomalabel", "evaluate", *map(str, arguments), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Run(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def folders(tmp_path) -> list[str | Path]:
    """Options that name a method and two folders: 8 noisy pictures, and 4 with a bright square and its mask."""
    generator = np.random.default_rng(0)
    for kind, count in (("normal", 8), ("abnormal", 4)):
        (tmp_path / kind).mkdir()
        for number in range(count):
            pixels = generator.integers(60, 140, (40, 40)).astype(np.uint8)
            if kind == "abnormal":
                mask = np.zeros((40, 40), dtype=np.uint8)
                mask[10:20, 12:24] = 255
                pixels[mask > 0] = 250
                Image.fromarray(mask).save(tmp_path / kind / f"p{number // 2}_{number}_mask.png")
            Image.fromarray(pixels).save(tmp_path / kind / f"p{number // 2}_{number}.png")
    inputs = ["--normal", tmp_path / "normal", "--abnormal", tmp_path / "abnormal"]
    return ["--config", "breast_ultrasound", "--method", "intensity", "--seeds", "2", "--resamples", "20", *inputs]


def result(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out" / "metrics.json").read_text())


def assert_refused(run: Run, *words: str) -> None:
    """One line on stderr that holds the words, and exit code 2."""
    assert run.code == 2
    assert MESSAGE.fullmatch(run.err.strip("\n")), run.err
    for word in words:
        assert word in run.err


def test_both_files_are_written_and_named(evaluate, folders, tmp_path):
    run = evaluate(*folders, "--shots", "2,4")
    assert (run.code, run.err) == (0, "")
    assert str(tmp_path / "out" / "metrics.json") in run.out
    assert str(tmp_path / "out" / "report.html") in run.out
    found = result(tmp_path)
    assert set(found["by_shots"]) == {"2", "4"}
    assert found["pixel_auroc"]["mean"] > 0.95
    assert "--shots 2,4" in found["protocol"]["command"]
    assert (tmp_path / "out" / "report.html").read_text().lstrip().startswith("<!")


def test_patients_are_read_from_names(evaluate, folders, tmp_path):
    assert evaluate(*folders, "--shots", "1", "--patient-pattern", r"(normal/p\d|abnormal/p\d)_").code == 0
    draws = result(tmp_path)["protocol"]["draws"]
    assert [(draw["patients"], draw["normal"]) for draw in draws] == [(5, 6), (5, 6)]


def test_a_broken_image_is_named_after_the_rest_is_done(evaluate, folders, tmp_path):
    broken = tmp_path / "abnormal" / "p0_1.png"
    broken.write_bytes(broken.read_bytes()[:80])
    assert_refused(evaluate(*folders, "--shots", "2"), "1 images could not be evaluated", "p0_1.png")
    assert [one["identity"] for one in result(tmp_path)["failed"]] == ["abnormal/p0_1.png"]
    assert result(tmp_path)["protocol"]["set"]["abnormal"] == 3


def test_stopping_says_how_to_go_on(evaluate, folders, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "write_metrics", stop)
    run = evaluate(*folders, "--shots", "2")
    assert run.code == 130
    assert "the same command goes on" in run.out
    assert "Traceback" not in run.err
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--shots", "many"], ["--shots", "many"]),
        (["--shots", "4,4"], ["twice"]),
        (["--shots", "0,4"], ["0 shots stands alone"]),
        (["--shots", "30"], ["30 shots are wanted"]),
        (["--seeds", "0"], ["draws"]),
        (["--method", "magic"], ["methods.1", "normal_bank"]),
        (["--method", "intensity"], ["twice"]),
        (["--dataset", "bmad:somewhere"], ["--dataset"]),
        (["--normal", "/nowhere"], ["/nowhere"]),
        (["--patient-pattern", "(p"], ["(p"]),
        (["--method", "normal_bank", "--shots", "0"], ["normal_bank", "--shots"]),
        (["--shots", "4,all"], ["no healthy set", "--healthy"]),
        (["--shots", "0,all"], ["0 shots stands alone"]),
        (["--shots", "all,every"], ["--shots", "4,8,16,32, or all"]),
        (["--saliency", "clap"], ["--saliency clap", "--method reconstruction"]),
        (["--method", "reconstruction", "--saliency", "dino"], ["dino", "none, ear, plp, clap"]),
        (["--method", "reconstruction", "--saliency", "ear", "--saliency", "ear"], ["twice"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(evaluate, folders, tmp_path, changes, words):
    assert_refused(evaluate(*folders, *changes), *words)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize("dataset", ["bmad:", "other:x", "x"])
def test_unknown_data_sets_are_refused(evaluate, dataset):
    options = ["--config", "chest_xray", "--method", "intensity"]
    assert_refused(evaluate(*options, "--dataset", dataset), "bmad:FOLDER")


def test_no_images_are_refused(evaluate):
    assert_refused(evaluate("--config", "chest_xray", "--method", "intensity"), "--normal")


def test_the_split_files_of_the_few_shot_paper_are_read(evaluate, folders, tmp_path):
    lines = {"train": [], "test": []}
    for path in sorted(path for path in tmp_path.glob("*/p*.png") if "_mask" not in path.name):
        label = int(path.parent.name == "abnormal")
        line = {"filename": str(path.relative_to(tmp_path)), "label": label}
        lines["train" if len(lines["train"]) < 4 and not label else "test"].append(json.dumps(line))
    (tmp_path / "samples").mkdir()
    for name, written in lines.items():
        (tmp_path / "samples" / f"{name}.json").write_text("\n".join(written))
    options = ["--config", "chest_xray", "--method", "intensity", "--shots", "3", "--resamples", "0"]
    assert evaluate(*options, "--dataset", f"split:{tmp_path}").code == 0
    assert (result(tmp_path)["protocol"]["set"]["normal"], result(tmp_path)["protocol"]["set"]["abnormal"]) == (4, 4)


def test_all_healthy_images_are_learnt_from(evaluate, folders, tmp_path):
    (tmp_path / "healthy").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number + 50).integers(60, 140, (40, 40)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "healthy" / f"{number}.png")
    assert evaluate(*folders, "--shots", "2,all", "--healthy", tmp_path / "healthy").code == 0
    assert set(result(tmp_path)["by_shots"]) == {"2", "3"}
    assert result(tmp_path)["protocol"]["all_shots"]


def test_saliencies_become_methods(evaluate, folders, monkeypatch):
    asked = []
    monkeypatch.setattr(evaluation, "evaluate", lambda images, request, *rest: asked.append(request) or sys.exit(0))
    options = ["--method", "reconstruction", *(f"--saliency={name}" for name in ("none", "ear", "plp", "clap"))]
    assert evaluate(*folders, *options).code == 0
    assert asked[0].methods == (
        "intensity",
        "reconstruction_none",
        "reconstruction_ear",
        "reconstruction_plp",
        "reconstruction_clap",
    )


def test_the_help_names_the_methods_and_the_rule(evaluate):
    run = evaluate("--help")
    assert run.code == 0
    for words in ("normal_bank", "Thresholds come from healthy", "--patient-pattern", "4,8,16,32", "--saliency"):
        assert words in run.out
