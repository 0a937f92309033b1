"""Two processes learn what one learns, and end together."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from anomalabel.config import ReconstructionSettings
from anomalabel.errors import ModelError
from anomalabel.training.reconstruction import learner
from anomalabel.training.reconstruction.batches import draw_epoch
from anomalabel.training.reconstruction.fit import ReconstructionFit
from anomalabel.training.reconstruction.processes import Processes, joined_processes, own_device, started_by_torchrun
from anomalabel.training.reconstruction.slices import HealthySlices

SCRIPT = Path(__file__).with_name("train_in_processes.py")


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_in_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def as_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process is the first of two; the environment of the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, "RANK": "1", "LOCAL_RANK": "1"}


def test_two_processes_learn_as_one_and_end_together(
    tmp_path: Path,
    script: ModuleType,
    as_torchrun_says: dict[str, str],
    fit: Callable[..., ReconstructionFit],
    learnt: HealthySlices,
    held_out: HealthySlices,
    make_settings: Callable[..., ReconstructionSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In single precision: half of it differs a little by how many images a process computes at once."""
    # Batches of 5 are shared as 3 and 2, and the last of 1 leaves nothing for one of the processes.
    settings = make_settings(samples=11, batch_size=5, epochs=2)
    for name, slices in (("learnt", learnt), ("held_out", held_out)):
        torch.save(vars(slices), tmp_path / f"{name}.pt")
    # In the second process's part of a batch.
    spoilt = int(draw_epoch(len(learnt), 11, 5, settings.mosaic.blocks, 3, 0)[0].numbers[1])
    (tmp_path / "spoilt.txt").write_text(str(spoilt))
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    with subprocess.Popen(command, env=as_torchrun_says, stdout=subprocess.PIPE, text=True) as other:
        first = script.train_together(tmp_path)
        told, _ = other.communicate(timeout=60)
    second = json.loads(told.splitlines()[-1])
    assert (first["world"], second["world"]) == (2, 2)
    monkeypatch.setattr(learner, "choose_dtype", lambda device, precision: torch.float32)
    alone = fit(settings=settings)
    for phase, step, losses in alone.history:
        (found,) = [one[2] for one in first["history"] if one[:2] == [phase, step]]
        assert found == pytest.approx(losses, rel=1e-4)
    assert first["history"] == second["history"]
    assert len(first["history"]) == 4
    assert first["weights"] == second["weights"]
    assert first["weights"] == pytest.approx(script.size_of(alone), rel=1e-4)
    assert first["watched"][-1] == ["training", 6, 6]
    assert second["watched"] == []
    assert first["cancelled"] == second["cancelled"]
    assert first["cancelled"][0] == "Cancelled"
    assert first["broken"] == second["broken"]
    assert f"no finite number, at {spoilt}.png. Look" in first["broken"][1]
    assert first["full"] == ["OutputError", "The disk is full. Free space."]
    assert second["full"][0] == "ModelError"
    assert "first process of this training ended" in second["full"][1]


def test_one_process_is_alone() -> None:
    processes = Processes.here()
    assert (processes.rank, processes.world, processes.is_first) == (0, 1, True)
    assert processes.sum_up(torch.ones(2)).tolist() == [1, 1]
    assert processes.share("a") == "a"
    assert processes.gather("a") == ["a"]
    assert processes.first_result(lambda: 3) == 3
    with joined_processes() as joined:
        assert joined == processes


def test_each_process_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    assert not started_by_torchrun()
    assert own_device(cuda) == cuda
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(cuda) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelError, match=r"Process 2.*no GPU; there are 1"):
        own_device(cuda)
