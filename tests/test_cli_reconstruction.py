"""`anomalabel train reconstruction`, as typed: what reaches the training, and what is said of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anomalabel import cli
from anomalabel.cli.terminal import terminal
from anomalabel.errors import Cancelled, ModelError
from anomalabel.learning import reconstruction as learning
from anomalabel.learning.training_report import LeftOutImage, TrainingReport
from anomalabel.training.reconstruction import processes

MESSAGE = re.compile(r"error(?: in process \d+)?: \S.*\.")


class Run:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Training:
    """Stands in for the training: notes how it was asked and answers with a report, or raises."""

    def __init__(self, images: int = 2, raised: BaseException | None = None) -> None:
        self.images, self.raised = images, raised
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, request, healthy, folder, encoders, watch, abnormal=frozenset()) -> TrainingReport:
        self.asked.append((request, list(healthy), folder, encoders, abnormal))
        for stage, done, total in (
            ("reading healthy images", 0, 2),
            ("reading healthy images", 2, 2),
            ("learning", 0, 0),
            ("learning", 3, 20),
        ):
            watch(stage, done, total)
        if self.raised is not None:
            raise self.raised
        return TrainingReport(
            model="model",
            weights_sha256="0" * 64,
            shots_used=self.images,
            images=tuple(f"{number}.png" for number in range(self.images)),
            left_out=(LeftOutImage(image="[x].png", reason="it is constant"),),
            warnings=("Few images.",),
            metrics={"held_out_loss": 0.12345},
            thresholds={"image": "95 % of 40 healthy images"},
        )


@pytest.fixture
def anomalabel(monkeypatch, capsys) -> Iterator[Callable[..., Run]]:
    """The command line in this process."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["anomalabel", "train", "reconstruction", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Run(ended.value.code or 0, captured.out, captured.err)

    yield run
    terminal.quiet = False


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., Training]:
    def install(**values) -> Training:
        training = Training(**values)
        monkeypatch.setattr(learning, "train_reconstruction", training)
        return training

    return install


@pytest.fixture
def options(tmp_path) -> list[str | Path]:
    for name in ("a/0.png", "a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (32, 32), 90).save(tmp_path / name)
    folders = ["--healthy", tmp_path / "a", "--healthy", tmp_path / "b"]
    return [*folders, "--config", "chest_xray", "--device", "cpu", "--out", tmp_path / "model"]


def test_what_is_typed_reaches_the_training(anomalabel, stand_in, options, tmp_path):
    training = stand_in()
    chosen = ["--saliency", "plp", "--epochs", "3", "--samples", "40", "--seed", "7", "--abnormal", "2"]
    run = anomalabel(*options, *chosen, "--model", "biomedclip")
    assert (run.code, run.err) == (0, "")
    ((request, images, folder, encoders, abnormal),) = training.asked
    assert (request.config, request.saliency, request.epochs, request.samples) == ("chest_xray", "plp", 3, 40)
    assert (request.seed, request.backbone, encoders.name) == (7, "biomedclip", "biomedclip")
    assert str(encoders.device) == "cpu"
    assert images == [tmp_path / name for name in ("a/0.png", "a/1.png", "b/2.png")]
    assert (folder, abnormal) == (tmp_path / "model", {"2"})


def test_what_is_not_typed_is_the_configs(anomalabel, stand_in, options):
    training = stand_in()
    assert anomalabel(*options).code == 0
    request = training.asked[0][0]
    assert (request.saliency, request.epochs, request.samples, request.seed) == (None, None, None, 0)
    assert request.backbone == "embedded"


def test_stages_and_report_are_said_line_by_line(anomalabel, stand_in, options, tmp_path):
    stand_in()
    assert anomalabel(*options).out.splitlines() == [
        "reading healthy images",
        "learning",
        "left out: [x].png: it is constant",
        "Few images.",
        "learned from 2 healthy images: 0.png, 1.png",
        "threshold, 95 % of 40 healthy images",
        "held_out_loss: 0.123",
        f"written: {tmp_path / 'model'}",
    ]


def test_of_many_images_the_first_are_named(anomalabel, stand_in, options):
    stand_in(images=3000)
    out = anomalabel(*options).out
    assert "learned from 3000 healthy images: 0.png, 1.png, " in out
    assert "31.png and 2968 more\n" in out
    assert "32.png" not in out


def test_ctrl_c_says_how_to_go_on(anomalabel, stand_in, options):
    stand_in(raised=KeyboardInterrupt())
    run = anomalabel(*options)
    assert (run.code, run.err) == (130, "")
    assert run.out.splitlines()[-1] == "Stopped; the same command goes on from the last checkpoint."


def test_an_error_of_the_training_is_one_line(anomalabel, stand_in, options):
    stand_in(raised=Cancelled())
    run = anomalabel(*options)
    assert (run.code, run.err) == (2, "error: The work was cancelled. Start it again when you are ready.\n")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--saliency", "gradcam"], ["saliency", "'none', 'ear', 'plp' or 'clap'"]),
        (["--epochs", "0"], ["epochs", "greater than or equal to 1"]),
        (["--samples", "0"], ["samples", "greater than or equal to 1"]),
        (["--seed", "-1"], ["seed", "greater than or equal to 0"]),
        (["--abnormal", "nosuch"], ["--abnormal nosuch names no image"]),
        (["--healthy", "/nowhere"], ["/nowhere"]),
        (["--device", "cuda:9"], ["cuda:9"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(anomalabel, stand_in, options, changes, words):
    training = stand_in()
    run = anomalabel(*options, *changes)
    assert run.code == 2
    assert MESSAGE.fullmatch(run.err.strip("\n")), run.err
    for word in words:
        assert word in run.err
    assert training.asked == []


def test_of_processes_that_train_together_only_the_first_speaks(anomalabel, stand_in, options, monkeypatch):
    @contextmanager
    def second_of_two():
        yield processes.Processes(rank=1, world=2)

    monkeypatch.setattr(processes, "joined_processes", second_of_two)
    monkeypatch.setenv("RANK", "1")
    training = stand_in()
    run = anomalabel(*options)
    assert (run.code, run.out, run.err) == (0, "", "")
    assert len(training.asked) == 1
    stand_in(raised=ModelError("No GPU is left for it.", "Start fewer."))
    run = anomalabel(*options)
    assert (run.code, run.out, run.err) == (2, "", "error in process 1: No GPU is left for it. Start fewer.\n")
