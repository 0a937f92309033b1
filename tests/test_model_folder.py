"""A trained model is read as it was written, whole at every moment, or refused with its cause and a remedy."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anomalabel.backbones.patch_encoders import hash_of
from anomalabel.config import load_config
from anomalabel.errors import ModelError, OutputError
from anomalabel.finding import ModelIdentity, PromptTexts, Threshold
from anomalabel.model_folder import (
    CURVES_FILE,
    DESCRIPTION_FILE,
    PREVIOUS_FOLDER,
    WEIGHTS_FILE,
    HealthyImage,
    TrainedModel,
    check_model_folder,
    is_trained_folder,
    read_description,
    read_model_folder,
    require_encoder,
    write_model_folder,
)
from anomalabel.model_folder import folder as folder_module
from anomalabel.model_folder.tensor_file import hash_of_tensors, pack
from anomalabel.model_folder.whole_files import ABANDONED_SECONDS, STAGE_PREFIX

ENCODER = ModelIdentity(name="embedded", weights_sha256="a" * 64)


def model(number: int = 1, **changes: object) -> TrainedModel:
    values: dict[str, object] = {
        "method": "few_shot",
        "config": load_config("breast_ultrasound"),
        "backbone": ENCODER,
        "prompts": PromptTexts(positive=("a tumor",), negative=("healthy tissue",)),
        "healthy": (HealthyImage(name="one.png", sha256="1" * 64), HealthyImage(name="two.png", sha256="2" * 64)),
        "seed": number,
        "metrics": {"loss": 0.25 * number},
        "thresholds": {"image": Threshold(value=1.5, rule="0.95 quantile of 16 healthy images")},
        "warnings": ("16 images promise no rate below 1/17.",),
    }
    return TrainedModel.model_validate(values | changes)


def tensors(number: int = 1, size: int = 6) -> dict[str, torch.Tensor]:
    return {
        "adapter.weight": torch.full((size, 4), float(number)),
        "bank": torch.arange(6).reshape(2, 3).half().t(),
        "steps": torch.tensor(number),
        "flags": torch.tensor([True, False]),
    }


def draw(content: bytes):
    return lambda path: path.write_bytes(content)


def whole_number(folder: Path) -> int:
    """Which of the models of this file lies in a folder; fails where parts of two are mixed."""
    read, values = read_model_folder(folder)
    assert (values["adapter.weight"] == read.seed).all()
    assert int(values["steps"]) == read.seed
    assert read.metrics == {"loss": 0.25 * read.seed}
    return read.seed


def test_what_is_written_is_read_back(tmp_path):
    folder = tmp_path / "below" / "model"
    written = write_model_folder(folder, model(), tensors(), draw(b"png"))
    read, values = read_model_folder(folder)
    assert read == written == read_description(folder)
    assert read == model(created=read.created, weights_sha256=written.weights_sha256)
    assert read.config.few_shot == load_config("breast_ultrasound").few_shot
    assert read.created.utcoffset() == timedelta(0)
    assert read.versions["torch"] == torch.__version__.partition("+")[0]
    assert values.keys() == tensors().keys()
    for name, value in tensors().items():
        assert values[name].dtype == value.dtype
        assert torch.equal(values[name], value)
    assert {path.name for path in folder.iterdir()} == {WEIGHTS_FILE, DESCRIPTION_FILE, CURVES_FILE}
    assert (folder / CURVES_FILE).read_bytes() == b"png"


def test_other_programs_can_read_both_files(tmp_path):
    written = write_model_folder(tmp_path, model(), tensors())
    told = json.loads((tmp_path / DESCRIPTION_FILE).read_text())
    assert (told["schema"], told["seed"], told["backbone"]["name"]) == ("anomalabel.model/1", 1, "embedded")
    assert told["thresholds"]["image"] == {"value": 1.5, "rule": "0.95 quantile of 16 healthy images"}
    assert told["weights_sha256"] == written.weights_sha256
    assert told["config"]["preprocessing"] == json.loads(
        load_config("breast_ultrasound").preprocessing.model_dump_json()
    )
    assert torch.equal(load_file(tmp_path / WEIGHTS_FILE)["bank"], tensors()["bank"])
    with safe_open(tmp_path / WEIGHTS_FILE, "pt") as stream:
        assert json.loads(stream.metadata()["anomalabel"]) == told


def test_the_hash_is_that_of_a_module_with_these_weights():
    network = torch.nn.BatchNorm1d(3)
    assert hash_of_tensors(network.state_dict()) == hash_of(network)
    assert hash_of_tensors({"a": torch.zeros(2, 3)}) != hash_of_tensors({"a": torch.zeros(3, 2)})
    assert hash_of_tensors({"a": torch.zeros(2)}) != hash_of_tensors({"b": torch.zeros(2)})


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"loss": float("nan")}},
        {"thresholds": {"image": {"value": float("inf"), "rule": ""}}},
        {"unknown": 1},
        {"weights_sha256": "short"},
        {"healthy": ({"name": "a", "sha256": "x"},)},
    ],
)
def test_descriptions_that_are_none(change):
    with pytest.raises(ValidationError):
        model(**change)


def test_a_file_name_that_is_no_utf_8_can_be_written(tmp_path):
    name = os.fsdecode(b"sch\xf6n.png")
    write_model_folder(tmp_path, model(healthy=(HealthyImage(name=name, sha256="3" * 64),)), tensors())
    assert read_description(tmp_path).healthy[0].name == "sch\\udcf6n.png"


def test_the_model_before_is_kept_and_no_older_one(tmp_path):
    for number in (1, 2, 3):
        write_model_folder(tmp_path, model(number), tensors(number), draw(b"%d" % number))
    assert whole_number(tmp_path) == 3
    assert whole_number(tmp_path / PREVIOUS_FOLDER) == 2
    assert (tmp_path / PREVIOUS_FOLDER / CURVES_FILE).read_bytes() == b"2"
    write_model_folder(tmp_path, model(4), tensors(4))
    assert not (tmp_path / CURVES_FILE).exists()
    assert len(list(tmp_path.rglob("*.*"))) == 5


def test_without_hard_links_the_model_before_is_copied(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_model_folder(tmp_path, model(1), tensors(1))
    write_model_folder(tmp_path, model(2), tensors(2))
    assert (whole_number(tmp_path), whole_number(tmp_path / PREVIOUS_FOLDER)) == (2, 1)


def test_whoever_opened_the_old_model_reads_it_to_its_end(tmp_path):
    write_model_folder(tmp_path, model(1), tensors(1))
    before = (tmp_path / WEIGHTS_FILE).read_bytes()
    with (tmp_path / WEIGHTS_FILE).open("rb") as stream:
        start = stream.read(10)
        for number in (2, 3, 4):
            write_model_folder(tmp_path, model(number), tensors(number))
        assert start + stream.read() == before


class Crash(BaseException):
    """The process ends here."""


def test_an_end_at_any_step_leaves_a_whole_model(tmp_path, monkeypatch):
    """Every call that changes the disk is made the last one, in turn."""
    ends = []
    for last in range(100):
        folder = tmp_path / str(last)
        write_model_folder(folder, model(1), tensors(1), draw(b"1"))
        left = last

        def count(call):
            def counted(*arguments, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    raise Crash
                return call(*arguments, **named)

            return counted

        with monkeypatch.context() as patched:
            for place, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "mkdir"), (Path, "unlink")):
                patched.setattr(place, name, count(getattr(place, name)))
            try:
                write_model_folder(folder, model(2), tensors(2), draw(b"2"))
            except Crash:
                ends.append(whole_number(folder))
                continue
        break
    assert whole_number(folder) == 2
    assert set(ends) == {1, 2}
    assert ends == sorted(ends)
    assert len(ends) > 10


def test_readers_find_a_whole_model_while_others_are_written(tmp_path):
    write_model_folder(tmp_path, model(1), tensors(1, 2000))
    done = threading.Event()
    seen, faults = [], []

    def read() -> None:
        while not done.is_set():
            try:
                seen.append(whole_number(tmp_path))
            except BaseException as error:
                faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 14):
        write_model_folder(tmp_path, model(number), tensors(number, 2000))
    time.sleep(0.1)
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert len(set(seen)) > 1


WRITE_FOREVER = """
import sys
from pathlib import Path
import torch
from anomalabel.model_folder import read_model_folder, write_model_folder
folder = Path(sys.argv[1])
model, _ = read_model_folder(folder)
for number in range(2, 100000):
    tensors = {"adapter.weight": torch.full((20000, 4), float(number)), "steps": torch.tensor(number)}
    told = model.model_copy(update={"seed": number, "metrics": {"loss": 0.25 * number}})
    write_model_folder(folder, told, tensors)
    print(number, flush=True)
"""


def test_killing_the_writer_leaves_a_whole_model(tmp_path):
    write_model_folder(tmp_path, model(1), tensors(1))
    arguments = [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdout.readline()
        time.sleep(0.013)
        writer.send_signal(signal.SIGKILL)
    assert whole_number(tmp_path) >= 5


def test_what_a_killed_writer_left_is_removed_by_a_later_one(tmp_path):
    for name, age in (("old", ABANDONED_SECONDS + 60), ("young", 60)):
        left = tmp_path / f"{STAGE_PREFIX}{name}"
        left.mkdir()
        (left / WEIGHTS_FILE).write_bytes(b"half")
        os.utime(left, (time.time() - age,) * 2)
    write_model_folder(tmp_path, model(), tensors())
    assert sorted(path.name for path in tmp_path.glob(f"{STAGE_PREFIX}*")) == [f"{STAGE_PREFIX}young"]


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_fills_up_leaves_the_old_model_and_nothing_else(tmp_path, there):
    folder = tmp_path / "model"
    if there:
        write_model_folder(folder, model(1), tensors(1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"disk or its quota is full.*what was there before is untouched"):
            write_model_folder(folder, model(2), tensors(2, 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert folder.exists() == there


@pytest.mark.parametrize("last", range(3))
def test_a_disk_that_is_full_only_when_synced_leaves_the_old_model(tmp_path, monkeypatch, last):
    write_model_folder(tmp_path, model(1), tensors(1))
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > last:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_model_folder(tmp_path, model(2), tensors(2), draw(b"2"))
    assert whole_number(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [DESCRIPTION_FILE, WEIGHTS_FILE]


def test_a_full_disk_while_drawing_the_curves_leaves_the_old_model(tmp_path):
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    write_model_folder(tmp_path, model(1), tensors(1))
    with pytest.raises(OutputError, match="Disk quota exceeded"):
        write_model_folder(tmp_path, model(2), tensors(2), full)
    assert whole_number(tmp_path) == 1


def test_a_share_that_refuses_to_sync_folders_is_written(tmp_path, monkeypatch):
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    write_model_folder(tmp_path, model(), tensors())
    assert whole_number(tmp_path) == 1


def test_before_training_the_folder_is_checked(tmp_path):
    check_model_folder(tmp_path / "new" / "model")
    assert not (tmp_path / "new" / "model").exists()
    with pytest.raises(OutputError, match="full"):
        check_model_folder(tmp_path, 1 << 60)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file cannot be written: File exists.*Choose a folder"):
        check_model_folder(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]


def test_somebody_elses_weights_are_not_written_over(tmp_path):
    save_file({"theirs": torch.zeros(2)}, tmp_path / WEIGHTS_FILE)
    before = (tmp_path / WEIGHTS_FILE).read_bytes()
    for act in (lambda: check_model_folder(tmp_path), lambda: write_model_folder(tmp_path, model(), tensors())):
        with pytest.raises(OutputError, match=r"not written by AnomaLabel.*another folder"):
            act()
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == before
    assert not is_trained_folder(tmp_path)
    with pytest.raises(ModelError, match="is no model of AnomaLabel"):
        read_model_folder(tmp_path)


def test_a_damaged_model_is_replaced_and_does_not_become_the_one_before(tmp_path):
    write_model_folder(tmp_path, model(1), tensors(1))
    write_model_folder(tmp_path, model(2), tensors(2))
    (tmp_path / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match=rf"The model before it is in {tmp_path / PREVIOUS_FOLDER}"):
        read_model_folder(tmp_path)
    write_model_folder(tmp_path, model(3), tensors(3))
    assert (whole_number(tmp_path), whole_number(tmp_path / PREVIOUS_FOLDER)) == (3, 1)


def test_weights_that_are_not_finite_are_not_written_nor_read(tmp_path):
    broken = tensors() | {"adapter.bias": torch.tensor([0.0, torch.nan])}
    write_model_folder(tmp_path, model(1), tensors(1))
    with pytest.raises(ModelError, match=r"not finite, in adapter.bias"):
        write_model_folder(tmp_path, model(2), broken)
    assert whole_number(tmp_path) == 1
    told = model(weights_sha256=hash_of_tensors(broken))
    (tmp_path / WEIGHTS_FILE).write_bytes(pack(told.to_json(), broken))
    with pytest.raises(ModelError, match=r"not finite, in adapter.bias"):
        read_model_folder(tmp_path)


def test_every_changed_bit_and_every_missing_end_is_found(tmp_path):
    write_model_folder(tmp_path, model(), {"w": torch.linspace(0, 1, 5)})
    path = tmp_path / WEIGHTS_FILE
    content = path.read_bytes()
    places = [*range(0, len(content) - 20, 97), *range(len(content) - 20, len(content))]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises(ModelError):
            read_model_folder(tmp_path)
    for length in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"damaged.*Copy the folder again"):
            read_model_folder(tmp_path)


def test_a_description_beside_other_weights_is_found(tmp_path):
    (tmp_path / WEIGHTS_FILE).write_bytes(pack(model(weights_sha256="b" * 64).to_json(), tensors()))
    for read in (read_model_folder, read_description):
        with pytest.raises(ModelError, match="belongs to other weights"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": "anomalabel.model/2"}, r"newer than anomalabel.model/1.*Update AnomaLabel"),
        ({"schema": "anomalabel.model/0"}, r"older than anomalabel.model/1.*Train again"),
        ({"schema": "other/1"}, r"describes no model.*Give a folder that training wrote"),
        ({"schema": None}, r"describes no model"),
        ({"new_part": 1}, r"written by AnomaLabel 9\.9 and does not fit .*new_part: unknown key.*Use the version"),
        ({"metrics": {"loss": "high"}}, r"metrics\.loss"),
    ],
)
def test_models_of_other_versions(tmp_path, change, expected):
    told = json.loads(model(weights_sha256=hash_of_tensors(tensors()), versions={"anomalabel": "9.9"}).to_json())
    (tmp_path / WEIGHTS_FILE).write_bytes(pack(json.dumps(told | change), tensors()))
    assert is_trained_folder(tmp_path)
    for read in (read_model_folder, read_description):
        with pytest.raises(ModelError, match=expected):
            read(tmp_path)


def test_settings_that_this_version_does_not_know(tmp_path):
    told = json.loads(model(weights_sha256=hash_of_tensors(tensors())).to_json())
    told["config"]["few_shot"]["vanished"] = 1
    (tmp_path / WEIGHTS_FILE).write_bytes(pack(json.dumps(told), tensors()))
    with pytest.raises(ModelError, match=r"config\.few_shot\.vanished: unknown key.*train again"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"schema": 1}'])
def test_a_text_that_is_no_description(tmp_path, text):
    (tmp_path / WEIGHTS_FILE).write_bytes(pack(text, tensors()))
    with pytest.raises(ModelError, match="describes no model"):
        read_model_folder(tmp_path)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(ModelError, match=r"missing does not exist.*anomalabel train few-shot"):
        read_model_folder(tmp_path / "missing")
    with pytest.raises(ModelError, match=r"holds no weights.safetensors.*Copy the complete folder"):
        read_description(tmp_path)
    (tmp_path / WEIGHTS_FILE).mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_model_folder(tmp_path)
    assert not is_trained_folder(tmp_path)
    assert not is_trained_folder(tmp_path / "missing")


def test_a_share_that_lost_the_open_file_is_asked_again(tmp_path, monkeypatch):
    write_model_folder(tmp_path, model(), tensors())
    read, calls = Path.read_bytes, []

    def stale(path: Path) -> bytes:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", stale)
    assert whole_number(tmp_path) == 1


def test_a_copied_folder_is_the_same_model(tmp_path):
    write_model_folder(tmp_path / "a", model(), tensors())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert read_description(tmp_path / "b") == read_description(tmp_path / "a")


def test_an_edited_copy_of_the_description_does_not_count_and_is_told(tmp_path, caplog):
    write_model_folder(tmp_path, model(), tensors())
    with caplog.at_level(logging.WARNING, folder_module.__name__):
        read_model_folder(tmp_path)
        assert caplog.text == ""
        path = tmp_path / DESCRIPTION_FILE
        path.write_text(path.read_text().replace('"seed": 1', '"seed": 5'))
        assert read_model_folder(tmp_path)[0].seed == 1
    assert "the latter counts" in caplog.text


def test_the_encoder_must_be_the_one_that_was_trained_with():
    require_encoder(model(), ENCODER)
    require_encoder(model(), ModelIdentity(name="a copy elsewhere", weights_sha256="a" * 64))
    with pytest.raises(
        ModelError, match=r"encoder embedded \(weights aaaaaaaaaaaa\), and this is biomedclip \(bbbbbbbbbbbb\)"
    ):
        require_encoder(model(), ModelIdentity(name="biomedclip", weights_sha256="b" * 64))
