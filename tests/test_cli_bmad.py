"""`anomalabel bmad`: results in a folder of each set, and a table of them."""

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
from anomalabel.detectors.base import Detection
from anomalabel.detectors.registry import BUILDERS, BuildContext, MethodBuilder
from anomalabel.evaluation import bmad_run
from anomalabel.finding import ModelIdentity, Threshold

MESSAGE = re.compile(r"error: \S.*\.")


class Run:
    """What one call of the command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def bmad(monkeypatch, capsys, tmp_path) -> Callable[..., Run]:
    """`anomalabel bmad` in this process."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("ANOMALABEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("anomalabel.evaluation.evaluate.write_report", lambda content, path: None)

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["anomalabel", "bmad", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Run(ended.value.code or 0, captured.out, captured.err)

    return run


class Brightness:
    """A method that learns nothing from its images."""

    identity = ModelIdentity(name="brightness", weights_sha256="0" * 64)
    image_threshold = Threshold(value=0.9, rule="image: fixed")
    pixel_threshold = Threshold(value=0.8, rule="pixel: fixed")
    description = "saliency of nobody"

    def detect(self, prepared, affine_ras, positions, progress) -> Detection:
        return Detection(prepared.scaled.astype(np.float32), float(prepared.scaled.mean()))


@pytest.fixture
def contexts(monkeypatch) -> list[BuildContext]:
    """What the four saliencies, which are `Brightness` here, were built from."""
    built: list[BuildContext] = []

    def build(context: BuildContext) -> Brightness:
        built.append(context)
        return Brightness()

    for name in ("none", "ear", "plp", "clap"):
        monkeypatch.setitem(
            BUILDERS,
            f"reconstruction_{name}",
            MethodBuilder(build, needs_healthy=True, uses_prompts=True, calibrates=True),
        )
    return built


@pytest.fixture
def chest(tmp_path) -> Path:
    """A folder with a small chest set: 5 training and 6 test images, brighter where sick."""
    root = tmp_path / "data"
    for place, count, brightness in (("train/good", 5, 100), ("test/good", 3, 100), ("test/Ungood", 3, 160)):
        (root / "Chest" / place).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng((number, count)).integers(brightness - 60, brightness + 60, (40, 40))
            pixels[:2] = (0, 255) * 20
            Image.fromarray(pixels.astype(np.uint8)).save(root / "Chest" / place / f"{number}.png")
    return root


def test_a_set_is_run_and_stands_in_the_table(bmad, contexts, chest, tmp_path, tiny_clip_folder):
    out = tmp_path / "results"
    options = ["--data", chest, "--out", out, "--seeds", "2", "--epochs", "3", "--samples", "7", "--resamples", "0"]
    run = bmad("run", "chest", *options, "--model", tiny_clip_folder, "--device", "cpu")
    assert (run.code, run.err) == (0, "")
    assert str(out / "chest" / "metrics.json") in run.out
    assert "anomalabel bmad table" in run.out
    assert len(contexts) == 8
    assert {len(context.healthy) for context in contexts} == {5}
    assert contexts[0].config.reconstruction.training.epochs == 3
    assert contexts[0].config.reconstruction.training.samples == 7
    found = json.loads((out / "chest" / "metrics.json").read_text())
    assert list(found["methods"]) == [f"reconstruction_{name}" for name in ("clap", "plp", "ear", "none")]
    assert "bmad run chest" in found["protocol"]["command"]
    shown = bmad("table", out)
    assert shown.code == 0
    (measured,) = [line.split() for line in shown.out.splitlines() if line.startswith("CLAP, measured")]
    assert measured == ["CLAP,", "measured", "-", "-", "-", "-", "100.00", "±", "0.00", "-", "-"]
    assert "3 epochs of 7 samples, not 20 of 3000" in shown.out
    assert f"measured with {tiny_clip_folder} (chest)" in shown.out
    assert "EAR differs in the encoder: published with DINO; measured: saliency of nobody (chest)." in shown.out
    marked = bmad("table", out, "--markdown").out.splitlines()
    assert marked[0].startswith("| Method | BraTS2021 |")
    assert "| EAR, measured | - | - | - | - | 100.00 ± 0.00 | - | - |" in marked


def test_saliencies_can_be_chosen(bmad, chest, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(bmad_run, "run_bmad", lambda request, *rest: asked.append(request) or sys.exit(0))
    options = ["--data", chest, "--out", tmp_path / "out"]
    assert bmad("run", "chest", *options, "--saliency", "ear", "--saliency", "none", "--published").code == 0
    assert (asked[0].saliencies, asked[0].published, asked[0].draws) == (("ear", "none"), True, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "knee", "--data", "{chest}"], ["knee", "brain, liver, resc, oct2017, chest, histopathology"]),
        (["run", "liver", "--data", "{chest}"], ["the set 'liver'"]),
        (["run", "chest", "--data", "/nowhere"], ["/nowhere"]),
        (["run", "chest", "--data", "{chest}", "--saliency", "dino"], ["saliencies", "'none', 'ear', 'plp' or 'clap'"]),
        (["run", "chest", "--data", "{chest}", "--epochs", "0"], ["epochs"]),
        (["table", "{chest}"], ["metrics.json", "bmad run"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(bmad, contexts, chest, tmp_path, arguments, words):
    given = [argument.format(chest=chest) for argument in arguments]
    run = bmad(*given, *(["--out", tmp_path / "out"] if given[0] == "run" else []))
    assert run.code == 2
    assert MESSAGE.fullmatch(run.err.strip("\n")), run.err
    for word in words:
        assert word in run.err
    assert not contexts
