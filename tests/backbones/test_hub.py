"""Pulling models: from a copied folder, from a hub that is played by a folder, and without network."""

import json
import shutil
from pathlib import Path

import httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from anomalabel.backbones.hub import HUB_NAMES, TEXT_FILES, pull_model
from anomalabel.backbones.loading import CONFIG_FILE, load_model
from anomalabel.errors import ModelError

BIOMEDCLIP_FILES = ("open_clip_model.safetensors", CONFIG_FILE, "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def play_hub(monkeypatch, repositories: dict[str, dict[str, bytes]]) -> list[tuple[str, tuple[str, ...]]]:
    """Serve repositories from memory; returns the growing list of what was asked for."""
    asked = []

    def snapshot_download(repository, *, local_dir, allow_patterns):
        asked.append((repository, tuple(allow_patterns)))
        if repository not in repositories:
            raise LocalEntryNotFoundError("no such repository\nsecond line")
        Path(local_dir).mkdir(exist_ok=True)
        for name, content in repositories[repository].items():
            if name in allow_patterns:
                (Path(local_dir) / name).write_bytes(content)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def contents(folder: Path, names) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def left_in(models_folder: Path) -> list[str]:
    return sorted(path.name for path in models_folder.iterdir()) if models_folder.exists() else []


def vector(name: str) -> torch.Tensor:
    return load_model(name, "cpu", "float32").encode_texts(["glioma of the brain"])


def test_a_copied_folder_is_pulled_and_loads_by_name(models_folder, biomedclip_folder):
    folder = pull_model("biomedclip", source=biomedclip_folder)
    assert folder == models_folder / "biomedclip"
    assert left_in(models_folder) == ["biomedclip"]
    text = json.loads((folder / CONFIG_FILE).read_text())["model_cfg"]["text_cfg"]
    assert (text["hf_model_name"], text["hf_tokenizer_name"]) == (".", ".")
    assert load_model("biomedclip", "cpu").identity.name == "biomedclip"
    torch.testing.assert_close(vector("biomedclip"), vector(str(biomedclip_folder)))


def test_the_source_stays_as_it_was(models_folder, biomedclip_folder):
    before = contents(biomedclip_folder, [path.name for path in biomedclip_folder.iterdir()])
    pull_model("biomedclip", source=biomedclip_folder)
    assert contents(biomedclip_folder, [path.name for path in biomedclip_folder.iterdir()]) == before


def test_a_pulled_model_may_be_moved_to_another_machine(models_folder, biomedclip_folder, tmp_path, monkeypatch):
    expected = vector(str(biomedclip_folder))
    pulled = pull_model("biomedclip", source=biomedclip_folder)
    (tmp_path / "another machine").mkdir()
    moved = Path(shutil.move(pulled, tmp_path / "another machine" / "biomedclip"))
    torch.testing.assert_close(vector(str(moved)), expected)
    monkeypatch.setenv("ANOMALABEL_MODELS", str(moved.parent))
    torch.testing.assert_close(vector("biomedclip"), expected)


def test_pulling_again_replaces_the_model_also_by_itself(models_folder, biomedclip_folder):
    folder = pull_model("biomedclip", source=biomedclip_folder)
    (folder / "stale").touch()
    pull_model("biomedclip", source=biomedclip_folder)
    assert not (folder / "stale").exists()
    assert pull_model("biomedclip", source=folder) == folder
    assert vector("biomedclip").shape == (1, 32)


def test_a_model_without_hugging_face_parts_is_pulled_as_it_is(models_folder, tiny_clip_folder):
    folder = pull_model("OWNER/tiny", source=tiny_clip_folder)
    assert folder == models_folder / "tiny"
    assert json.loads((folder / CONFIG_FILE).read_text()) == json.loads((tiny_clip_folder / CONFIG_FILE).read_text())


def test_from_the_hub_text_tower_and_all(models_folder, biomedclip_folder, monkeypatch):
    repositories = {
        HUB_NAMES["biomedclip"]: contents(biomedclip_folder, BIOMEDCLIP_FILES),
        "OWNER/text-tower": contents(biomedclip_folder, ["config.json", "vocab.txt"]),
    }
    asked = play_hub(monkeypatch, repositories)
    pull_model("biomedclip")
    torch.testing.assert_close(vector("biomedclip"), vector(str(biomedclip_folder)))
    assert asked[0] == (HUB_NAMES["biomedclip"], (CONFIG_FILE,))
    assert asked[-1][0] == "OWNER/text-tower"
    assert set(asked[-1][1]) == set(TEXT_FILES) - set(BIOMEDCLIP_FILES)


def test_from_the_hub_under_a_name_of_ones_own(models_folder, tiny_clip_folder, monkeypatch):
    files = contents(tiny_clip_folder, ["open_clip_model.safetensors", CONFIG_FILE])
    play_hub(monkeypatch, {"OWNER/some-clip": files})
    assert pull_model("OWNER/some-clip", stored_as="mine") == models_folder / "mine"
    assert pull_model("OWNER/some-clip") == models_folder / "some-clip"


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("offline"), ConnectionError("refused"), httpx.ProxyError("proxy"), OSError()]
)
def test_without_network(models_folder, monkeypatch, error):
    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=r"cannot be fetched from the hub: .*models pull NAME --from FOLDER") as raised:
        pull_model("biomedclip")
    assert "\n" not in str(raised.value)
    assert left_in(models_folder) == []


def test_network_lost_halfway_keeps_the_old_model(models_folder, biomedclip_folder, monkeypatch):
    pull_model("biomedclip", source=biomedclip_folder)
    play_hub(monkeypatch, {HUB_NAMES["biomedclip"]: contents(biomedclip_folder, BIOMEDCLIP_FILES)})
    with pytest.raises(ModelError, match="cannot be fetched"):
        pull_model("biomedclip")
    assert left_in(models_folder) == ["biomedclip"]
    assert vector("biomedclip").shape == (1, 32)


def test_a_hub_repository_that_is_no_open_clip_model(models_folder, monkeypatch):
    play_hub(monkeypatch, {"OWNER/other": {"config.json": b"{}"}})
    with pytest.raises(ModelError, match=CONFIG_FILE):
        pull_model("OWNER/other")
    assert left_in(models_folder) == []


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        (["open_clip_model.safetensors"], "holds no weights"),
        ([CONFIG_FILE], f"holds no {CONFIG_FILE}"),
        (["config.json"], r"lacks the files of its text tower.*Copy them from OWNER/text-tower"),
        (["vocab.txt", "tokenizer.json"], r"lacks the files of its text tower.*Copy them from OWNER/text-tower"),
    ],
)
def test_an_incomplete_folder_is_not_pulled(models_folder, own_folder, missing, complaint):
    for name in missing:
        (own_folder / name).unlink()
    with pytest.raises(ModelError, match=complaint):
        pull_model("biomedclip", source=own_folder)
    assert left_in(models_folder) == []


def test_a_source_that_is_not_there(models_folder, tmp_path):
    with pytest.raises(ModelError, match="holds no open_clip_config"):
        pull_model("biomedclip", source=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "stored_as"),
    [
        ("", None),
        ("OWNER/", None),
        ("OWNER/..", None),
        ("embedded", None),
        ("biomedclip", ""),
        ("biomedclip", "."),
        ("biomedclip", "../outside"),
        ("biomedclip", "a/b"),
        ("biomedclip", "/outside"),
        ("biomedclip", "embedded"),
    ],
)
def test_names_that_would_leave_the_models_folder(models_folder, biomedclip_folder, tmp_path, name, stored_as):
    pull_model("kept", source=biomedclip_folder)
    with pytest.raises(ModelError, match="cannot be the name of a pulled model"):
        pull_model(name, source=biomedclip_folder, stored_as=stored_as)
    assert left_in(models_folder) == ["kept"]
    assert not (tmp_path / "outside").exists()


def test_a_models_folder_that_cannot_be_written(tmp_path, biomedclip_folder, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ANOMALABEL_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(ModelError, match=r"cannot be stored .*Set ANOMALABEL_MODELS"):
        pull_model("biomedclip", source=biomedclip_folder)
