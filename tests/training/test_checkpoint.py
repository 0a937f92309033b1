from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from anomalabel.errors import ConfigError, OutputError
from anomalabel.training.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)

HISTORY = [("distil", 0, {"imitation": 1.25}), ("text", 3, {"text": 0.5})]


def checkpoint(settings: str = "a") -> Checkpoint:
    network = torch.nn.Linear(2, 3)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    modules = {"model": network.state_dict(), "optimiser": optimiser.state_dict(), "statistics": None}
    return Checkpoint(settings, "text", 4, modules, HISTORY)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = checkpoint()
    write_checkpoint(tmp_path, written)
    read = read_checkpoint(tmp_path, "a")
    assert read is not None
    assert (read.phase, read.step, read.history) == ("text", 4, HISTORY)
    assert torch.equal(read.modules["model"]["weight"], written.modules["model"]["weight"])
    momentum = [state["optimiser"]["state"][0]["exp_avg"] for state in (read.modules, written.modules)]
    assert torch.equal(*momentum)
    assert momentum[0].any()
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_there_is_none_before_the_first_and_after_the_last_step(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, "a") is None
    write_checkpoint(tmp_path, checkpoint())
    remove_checkpoint(tmp_path)
    assert read_checkpoint(tmp_path, "a") is None
    remove_checkpoint(tmp_path)


def test_one_of_other_settings_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint("a"))
    with pytest.raises(ConfigError, match="other settings"):
        read_checkpoint(tmp_path, "b")


def test_a_full_disk_is_told_and_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, checkpoint())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"disk or its quota is full.*untouched"):
        write_checkpoint(tmp_path, checkpoint("b"))
    assert read_checkpoint(tmp_path, "a") is not None
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_a_random_generator_goes_on_where_it_stopped(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    write_checkpoint(tmp_path, Checkpoint("a", "head 2", 7, {"generator": generator.get_state()}, []))
    read = read_checkpoint(tmp_path, "a")
    assert read is not None
    resumed = torch.Generator()
    resumed.set_state(read.modules["generator"])
    assert torch.equal(torch.rand(4, generator=resumed), torch.rand(4, generator=generator))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02junk", b"PK\x03\x04" + bytes(60), None])
def test_a_damaged_one_is_told(tmp_path: Path, content: bytes | None) -> None:
    write_checkpoint(tmp_path, checkpoint())
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(ConfigError, match=r"cannot be read.*Delete it"):
        read_checkpoint(tmp_path, "a")


@pytest.mark.parametrize("content", [{"phase": "text"}, ["list"], {"attack": Path("/")}])
def test_other_files_of_torch_are_no_checkpoints(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_checkpoint(tmp_path, "a")
