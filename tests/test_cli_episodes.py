"""`anomalabel train episodes` from folders to a file, and what it refuses before the work."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from anomalabel import cli
from anomalabel.training.learned_start import SCHEMA


@pytest.fixture
def train(monkeypatch, capsys, tmp_path, tiny_clip_folder) -> Callable[..., tuple[int, str]]:
    """The command's exit code and what it says; the file goes to tmp_path / "new" / "start.safetensors"."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("ANOMALABEL_CACHE", str(tmp_path / "cache"))

    def run(*options: str) -> tuple[int, str]:
        out = tmp_path / "new" / "start.safetensors"
        given = ["--model", str(tiny_clip_folder), "--out", str(out), "--device", "cpu", *options]
        monkeypatch.setattr(sys, "argv", ["anomalabel", "train", "episodes", *given])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + captured.err

    return run


@pytest.fixture
def healthy(tmp_path, tissue, few_shot_config) -> str:
    """CONFIG=DIR of four pictures."""
    (tmp_path / "healthy").mkdir()
    for seed in range(4):
        pixels = np.round(255 * tissue(seed).prepared.scaled[0]).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "healthy" / f"{seed}.png")
    path = tmp_path / "tissue.yaml"
    path.write_text(few_shot_config(episodes={"steps": 2}).model_dump_json())
    return f"{path}={tmp_path / 'healthy'}"


def test_a_file_and_what_it_is_worth(train, healthy: str, tmp_path: Path) -> None:
    code, said = train("--set", healthy, "--shots", "2", "--steps", "2", "--inner-steps", "1", "--inner-rate", "0.02")
    assert code == 0, said
    assert re.search(r"tissue: learned from 2 healthy images: \d\.png, \d\.png\n", said)
    losses = re.search(
        r"on 24 held-out tasks, before and after 2 steps: (\S+) and (\S+) from the start, \S+ and (\S+) from scratch",
        said,
    )
    assert losses is not None, said
    assert ("leads NO further than none" in said) == (float(losses[2]) >= float(losses[3]))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["start.safetensors"]
    with safe_open(tmp_path / "new" / "start.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["schema"] == SCHEMA
    assert '"inner_rate":0.02' in metadata["training"]
    assert '"held_out_tasks":24' in metadata["origin"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "chest_xray"], "--set chest_xray is not CONFIG=DIR"),
        (["--set", "chest_xray="], "is not CONFIG=DIR"),
        (["--set", "chest_xray=/nowhere"], "/nowhere"),
        (["--set", "HEALTHY", "--set", "HEALTHY"], "The config tissue was given twice"),
        (["--set", "HEALTHY", "--shots", "4"], "Give 6 healthy images of one kind"),
        (["--set", "HEALTHY", "--inner-rate", "0"], "training.inner_rate"),
        (["--set", "HEALTHY", "--out", "/"], "/ is a folder, not a file"),
        (["--set", "HEALTHY", "--model", "unheard_of"], "no model 'unheard_of'"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_no_file(train, healthy: str, tmp_path: Path, options, words: str) -> None:
    code, said = train(*(healthy if option == "HEALTHY" else option for option in options))
    assert code == 2
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()
