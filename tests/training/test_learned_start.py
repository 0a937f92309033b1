"""The file comes back as it was, and never into another head or encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from anomalabel.errors import ModelError, OutputError
from anomalabel.training.episodes import EpisodicTraining, parameters_of
from anomalabel.training.learned_start import SCHEMA, LearnedStart, load_start, save_start

ENCODER = "ab" * 32
HEAD = "levels 5 -> 3, text"


def head(width: int = 3) -> nn.Module:
    module = nn.ModuleDict({"adapter": nn.Linear(5, width, bias=False), "frozen": nn.Linear(2, 2)})
    module["frozen"].requires_grad_(False)
    return module


@pytest.fixture
def start() -> LearnedStart:
    torch.manual_seed(0)
    training = EpisodicTraining(steps=12, inner_rate=0.125, first_order=True)
    return LearnedStart(parameters_of(head()), ENCODER, HEAD, training)


@pytest.fixture
def path(start: LearnedStart, tmp_path: Path) -> Path:
    save_start(tmp_path / "start.safetensors", start)
    return tmp_path / "start.safetensors"


def test_it_comes_back_as_it_was(start: LearnedStart, path: Path) -> None:
    read = load_start(path, ENCODER, HEAD, head())
    assert set(read.parameters) == {"adapter.weight"}
    torch.testing.assert_close(read.parameters, start.parameters, rtol=0, atol=0)
    assert (read.encoder_sha256, read.head, read.training) == (ENCODER, HEAD, start.training)
    assert read.training.inner_rate == 0.125


def test_the_file_is_plain_safetensors_and_alone(start: LearnedStart, path: Path) -> None:
    torch.testing.assert_close(load_file(path), start.parameters, rtol=0, atol=0)
    assert list(path.parent.iterdir()) == [path]


def test_parameters_take_the_type_of_the_head(path: Path) -> None:
    assert load_start(path, ENCODER, HEAD, head().double()).parameters["adapter.weight"].dtype == torch.float64


@pytest.mark.parametrize(
    ("encoder", "line", "width", "words"),
    [
        ("cd" * 32, HEAD, 3, "another encoder.*abababababab.*cdcdcdcdcdcd"),
        (ENCODER, "levels 5 -> 3", 3, r"another head \(levels 5 -> 3, text\).*\(levels 5 -> 3\)"),
        (ENCODER, HEAD, 4, r"adapter.weight is \(3, 5\), expected \(4, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused(path: Path, encoder: str, line: str, width: int, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_start(path, encoder, line, head(width))


def test_missing_and_surplus_parameters(path: Path) -> None:
    more, less = head(), head()
    more["extra"] = nn.Linear(1, 1, bias=False)
    with pytest.raises(ModelError, match=r"extra.weight is missing, expected \(1, 1\)"):
        load_start(path, ENCODER, HEAD, more)
    less["adapter"].requires_grad_(False)
    with pytest.raises(ModelError, match=r"adapter.weight is \(3, 5\), expected nothing"):
        load_start(path, ENCODER, HEAD, less)


def test_numbers_that_are_not_finite(start: LearnedStart, path: Path) -> None:
    start.parameters["adapter.weight"][0, 0] = torch.nan
    save_start(path, start)
    with pytest.raises(ModelError, match=r"not finite in adapter\.weight"):
        load_start(path, ENCODER, HEAD, head())


def test_files_that_are_no_start(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no learned start"):
        load_start(tmp_path / "other.safetensors", ENCODER, HEAD, head())
    other = tmp_path / "weights.safetensors"
    save_file(parameters_of(head()), other)
    with pytest.raises(ModelError, match=r"schema is None, not anomalabel\.episodes/1"):
        load_start(other, ENCODER, HEAD, head())
    save_file(parameters_of(head()), other, {"schema": SCHEMA, "encoder_sha256": ENCODER, "head": HEAD})
    with pytest.raises(ModelError, match="cannot be read"):
        load_start(other, ENCODER, HEAD, head())
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match="cannot be read"):
        load_start(path, ENCODER, HEAD, head())


def test_a_folder_that_is_not_there(start: LearnedStart, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_start(tmp_path / "missing" / "start.safetensors", start)
