"""Weights come from a cache without asking the hub; the hub is asked once, briefly, and only where it may be."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from timm.models import PretrainedCfg

from anomalabel.backbones import timm_weights
from anomalabel.backbones.timm_weights import find_timm_weights, weights_in
from anomalabel.errors import ModelError

DINO = "vit_small_patch16_224.dino"


class Hub:
    """Stands in for the hub: answers with `statuses` by file, and remembers what it was asked."""

    def __init__(self, statuses: dict[str, int] | None) -> None:
        self.statuses, self.asked, self.fetched = statuses, [], []

    def head(self, url: str, timeout: float) -> requests.Response:
        self.asked.append((url.rsplit("/", 1)[-1], timeout))
        if self.statuses is None:
            raise requests.ConnectionError("Name or service not known")
        answer = requests.Response()
        answer.status_code = self.statuses[self.asked[-1][0]]
        return answer

    def download(self, repository: str, file: str, **_: object) -> str:
        self.fetched.append((repository, file))
        return f"/fetched/{file}"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


def connect(monkeypatch: pytest.MonkeyPatch, statuses: dict[str, int] | None) -> Hub:
    hub = Hub(statuses)
    monkeypatch.setattr(requests, "head", hub.head)
    monkeypatch.setattr(timm_weights, "hf_hub_download", hub.download)
    return hub


def put_into_cache(folder: Path, repository: str, file: str) -> Path:
    """As huggingface_hub lays it out."""
    stored = folder / f"models--{repository.replace('/', '--')}"
    snapshot = stored / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("abc")
    save_file({"a": torch.zeros(1)}, snapshot / file)
    return snapshot / file


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_cache_of_the_hub_is_asked_first(tmp_path, monkeypatch, file):
    hub = connect(monkeypatch, None)
    path = put_into_cache(tmp_path / "hub", f"timm/{DINO}", file)
    assert find_timm_weights(DINO) == path
    assert hub.asked == []


def test_then_the_checkpoints_of_torch(tmp_path, monkeypatch):
    hub = connect(monkeypatch, None)
    path = tmp_path / "torch" / "checkpoints" / "dino_deitsmall16_pretrain.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert find_timm_weights(DINO) == path
    assert hub.asked == []


def test_then_the_hub_is_asked_and_fetched_from(monkeypatch):
    hub = connect(monkeypatch, {"model.safetensors": 404, "pytorch_model.bin": 302})
    assert find_timm_weights(DINO) == Path("/fetched/pytorch_model.bin")
    assert hub.asked == [("model.safetensors", 3.0), ("pytorch_model.bin", 3.0)]
    assert hub.fetched == [(f"timm/{DINO}", "pytorch_model.bin")]


def test_a_hub_out_of_reach_is_asked_once(monkeypatch):
    hub = connect(monkeypatch, None)
    assert find_timm_weights(DINO) is None
    assert len(hub.asked) == 1


def test_a_hub_without_the_files_or_that_wants_a_login(monkeypatch):
    hub = connect(monkeypatch, {"model.safetensors": 404, "pytorch_model.bin": 401})
    assert find_timm_weights(DINO) is None
    assert hub.fetched == []


def test_a_download_that_breaks_off_means_none(monkeypatch, caplog):
    connect(monkeypatch, {"model.safetensors": 302})

    def break_off(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(timm_weights, "hf_hub_download", break_off)
    assert find_timm_weights(DINO) is None
    assert "timm/vit_small_patch16_224.dino cannot be fetched: No space left on device" in caplog.text


def test_the_hub_is_not_asked_where_it_must_not_be(monkeypatch):
    hub = connect(monkeypatch, {"model.safetensors": 200})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_timm_weights(DINO) is None
    assert hub.asked == []


def test_networks_may_name_a_revision_a_file_or_nothing(tmp_path, monkeypatch):
    hub = connect(monkeypatch, {"own.bin": 200})
    published = PretrainedCfg(hf_hub_id="owner/network@v2", hf_hub_filename="own.bin")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda network: published)
    assert find_timm_weights("test_vit") == Path("/fetched/own.bin")
    assert hub.fetched == [("owner/network", "own.bin")]
    for nothing in (PretrainedCfg(), None):
        monkeypatch.setattr(timm, "get_pretrained_cfg", lambda network, told=nothing: told)
        assert find_timm_weights("test_vit") is None
    assert len(hub.asked) == 1


def test_unknown_networks():
    with pytest.raises(ModelError, match="timm knows no network 'nothing'"):
        find_timm_weights("nothing")


def test_weights_at_a_place(tmp_path):
    folder = tmp_path / "dino"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"dino holds neither model\.safetensors nor pytorch_model\.bin"):
        weights_in(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert weights_in(folder) == folder / "pytorch_model.bin"
    (folder / "model.safetensors").write_bytes(b"")
    assert weights_in(folder) == folder / "model.safetensors"
    assert weights_in(folder / "pytorch_model.bin") == folder / "pytorch_model.bin"
    with pytest.raises(ModelError, match=r"There is no weights file .*missing\.pth"):
        weights_in(tmp_path / "missing.pth")
