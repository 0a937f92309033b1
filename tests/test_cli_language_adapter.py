"""`anomalabel train language-adapter` from reports to a file that a model takes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from anomalabel.backbones.loading import load_model
from anomalabel.backbones.text_adapter import read_text_adapter, with_text_adapter
from anomalabel.cli.language_adapter import language_adapter
from anomalabel.errors import AnomaLabelError
from anomalabel.training.language_adapter import AdapterFacts

STATEMENTS = {
    "clear": ("The lungs are clear.", "No focal consolidation.", "Normal chest radiograph."),
    "sick": ("There is a pneumonia.", "Opacity in the left lower lung.", "Follow up is advised."),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty made-up reports of two kinds."""
    path = tmp_path_factory.mktemp("reports") / "reports.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "report", "empty"])
        for number in range(60):
            kind = STATEMENTS["clear" if number % 2 else "sick"]
            rows.writerow([number, f"Study number {number}.\n{kind[number % 3]} {kind[(number + 1) % 3]}", ""])
    return path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the command says."""
    lines: list[str] = []
    monkeypatch.setattr("anomalabel.cli.language_adapter.say", lambda text, style="": lines.append(text))
    return lines


@pytest.fixture
def train(reports: Path, tmp_path: Path, tiny_clip_folder: Path):
    """The command with its outcome; the file goes to tmp_path / "new" / "adapter.safetensors"."""
    app = typer.Typer()
    app.command()(language_adapter)

    def run(*options: str) -> Result:
        out = tmp_path / "new" / "adapter.safetensors"
        given = ["--reports", str(reports), "--model", str(tiny_clip_folder), "--out", str(out), "--device", "cpu"]
        return CliRunner().invoke(app, [*given, *options])

    return run


def test_a_file_that_the_model_takes(train, tmp_path: Path, tiny_clip_folder: Path, said: list[str]) -> None:
    ended = train("--epochs", "3", "--seed", "2")
    assert ended.exit_code == 0, ended.exception
    assert said[0] == "54 reports learned from, 6 held out; 66 sentences (0 too long, 0 reports repeated, 0 too short)"
    losses = re.fullmatch(
        r"held-out loss (\S+) before, (\S+) after, (\S+) by chance; cosine .* were ([01]\.\d+)", said[1]
    )
    before, after, chance, closeness = (float(number) for number in losses.groups())
    assert 0.95 < closeness <= 1
    assert any("NOT told apart better" in line for line in said) == (after >= min(before, chance))
    assert any("different words are unknown to tiny" in line for line in said)
    assert said[-1].startswith("written: ")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["adapter.safetensors"]
    model = load_model(str(tiny_clip_folder), "cpu", "float32")
    adapted = with_text_adapter(model, read_text_adapter(tmp_path / "new" / "adapter.safetensors", model.identity))
    before, after = (one.encode_texts(["normal chest"]) for one in (model, adapted))
    assert 0.95 < float((before * after).sum()) < 1 - 1e-6


@pytest.mark.parametrize("improved", [True, False])
def test_an_adapter_that_is_worse_is_not_written_silently(train, said: list[str], monkeypatch, improved: bool) -> None:
    monkeypatch.setattr(AdapterFacts, "improved", improved)
    train("--epochs", "1")
    assert (
        "Held-out reports are NOT told apart better with it: leave it out, or give more reports." in said
    ) != improved


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--reports", "/nowhere.csv"], "The reports /nowhere.csv cannot be read"),
        (["--column", "findings"], "no column 'findings'"),
        (["--column", "empty"], "Of 0 reports 0 can be learned from, at least 50 are needed"),
        (["--model", "unheard_of"], "There is no model 'unheard_of'"),
        (["--device", "tpu"], "'tpu' is no device"),
        (["--out", "/"], "is a folder, not a file"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(train, tmp_path: Path, options: list[str], complaint: str) -> None:
    ended = train(*options)
    assert isinstance(ended.exception, AnomaLabelError)
    assert complaint in str(ended.exception)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["--epochs=0", "--seed=-1"])
def test_numbers_out_of_range(train, tmp_path: Path, option: str) -> None:
    assert train(option).exit_code == 2
    assert not (tmp_path / "new").exists()
