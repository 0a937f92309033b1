"""Features on disk come back bit by bit, damaged or foreign ones never, and the disk may refuse whatever it likes."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.localization import feature_cache
from anomalabel.localization.feature_cache import DiskFeatureStore, LayeredFeatureStore, cache_folder
from anomalabel.localization.patch_features import FeatureStore, SlicePatches
from anomalabel.preprocessing.framing import SquareFrame

CPU = "cpu float32"
KEY = b"k" * 32


def patches(seed=0, channels=(3, 5), short=False, side=4) -> SlicePatches:
    generator = np.random.default_rng(seed)
    frame = SquareFrame((37, 53), (0.1 + seed, 1 / 3), 224, (-2.7, np.pi), 19.999999999999996)
    levels = [torch.from_numpy(generator.standard_normal((c, side, side), dtype=np.float32)) for c in channels]
    seen = generator.random((side, side)) < 0.7
    return SlicePatches(frame, seen, tuple(one.bfloat16().float() if short else one for one in levels))


def same(one: SlicePatches | None, other: SlicePatches) -> bool:
    return (
        one is not None
        and one.frame == other.frame
        and one.seen.dtype == np.bool_
        and np.array_equal(one.seen, other.seen)
        and len(one.levels) == len(other.levels)
        and all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))
    )


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("short", [False, True])
def test_features_come_back_bit_by_bit_in_another_run(tmp_path, short):
    kept = patches(short=short, channels=(64, 32))
    DiskFeatureStore(CPU, tmp_path).keep(KEY, kept)
    assert same(DiskFeatureStore(CPU, tmp_path).find(KEY), kept)
    name = hashlib.blake2b(b"cpu float32\0" + KEY, digest_size=32).hexdigest()
    assert files(tmp_path) == [tmp_path / name[:2] / f"{name}.safetensors"]
    numbers = 96 * 16
    assert (numbers * 2 < files(tmp_path)[0].stat().st_size < numbers * 4) == short


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_no_finite_number_is_changed(tmp_path_factory, numbers):
    kept = SlicePatches(patches().frame, np.ones((2, 2), dtype=bool), (torch.tensor(numbers).reshape(1, 2, 2),))
    store = DiskFeatureStore(CPU, tmp_path_factory.mktemp("cache"))
    store.keep(KEY, kept)
    assert same(store.find(KEY), kept)


def test_views_and_reversed_arrays_are_kept(tmp_path):
    whole = patches(side=8)
    part = SlicePatches(whole.frame, whole.seen[::2, ::-2], tuple(level[:, ::2, 4:] for level in whole.levels))
    store = DiskFeatureStore(CPU, tmp_path)
    store.keep(KEY, part)
    assert same(store.find(KEY), part)


def test_what_was_not_kept_or_was_computed_otherwise_is_not_found(tmp_path):
    store = DiskFeatureStore(CPU, tmp_path)
    assert store.find(KEY) is None
    store.keep(KEY, patches())
    assert store.find(b"l" * 32) is None
    assert DiskFeatureStore("cuda bfloat16", tmp_path).find(KEY) is None


def test_only_their_owner_may_read_them(tmp_path):
    DiskFeatureStore(CPU, tmp_path / "cache").keep(KEY, patches())
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "cache").rglob("*")}
    assert modes | {(tmp_path / "cache").stat().st_mode & 0o077} == {0}


@pytest.mark.parametrize("damage", ["empty", "short", "bit", "text", "other key", "other contents"])
def test_a_damaged_file_is_deleted_and_written_again(tmp_path, damage, caplog):
    store = DiskFeatureStore(CPU, tmp_path)
    store.keep(KEY, patches())
    path = files(tmp_path)[0]
    content = path.read_bytes()
    if damage == "other key":
        store.keep(b"l" * 32, patches(1))
        other = next(one for one in files(tmp_path) if one != path)
        other.replace(path)
    elif damage == "other contents":
        path.write_bytes(feature_cache.pack(json.dumps({"name": path.stem}), {"level_0": torch.zeros(1)}))
    else:
        changed = bytearray(content)
        changed[-3] ^= 4
        path.write_bytes({"empty": b"", "short": content[:-1], "bit": bytes(changed), "text": b"text" * 99}[damage])
    with caplog.at_level(logging.WARNING, feature_cache.__name__):
        assert store.find(KEY) is None
    assert "computed again" in caplog.text
    assert not path.exists()
    store.keep(KEY, patches(2))
    assert same(store.find(KEY), patches(2))


def test_the_least_recently_used_leave_first(tmp_path):
    size = probe(tmp_path / "probe")
    folder = tmp_path / "cache"
    store = DiskFeatureStore(CPU, folder, capacity_bytes=10 * size)
    keys = [bytes([number]) * 32 for number in range(11)]
    for number, key in enumerate(keys[:10]):
        store.keep(key, patches(number))
        age(store, key, 1000 - number)
    assert store.find(keys[0]) is not None
    store.keep(keys[10], patches(10))
    # The two that were used longest ago, so that a tenth of the capacity is free again.
    assert [number for number, key in enumerate(keys) if store.find(key) is None] == [1, 2]


def test_files_of_other_processes_count_too(tmp_path):
    size = probe(tmp_path / "probe")
    folder = tmp_path / "cache"
    stores = [DiskFeatureStore(CPU, folder, capacity_bytes=20 * size) for _ in range(3)]
    for number in range(60):
        stores[number % 3].keep(bytes([number]) * 32, patches(number))
        assert sum(path.stat().st_size for path in files(folder)) <= 20 * size * (1 + 3 / 16)
    assert len(files(folder)) >= 17


def test_what_a_killed_process_left_goes_with_the_next_count(tmp_path):
    (tmp_path / "ab").mkdir()
    for name, seconds in (("old", 4000), ("young", 60)):
        left = tmp_path / "ab" / f"{name}.unfinished"
        left.write_bytes(b"half")
        os.utime(left, (left.stat().st_mtime - seconds,) * 2)
    DiskFeatureStore(CPU, tmp_path).keep(KEY, patches())
    assert [path.name for path in tmp_path.rglob("*.unfinished")] == ["young.unfinished"]


def test_features_larger_than_the_capacity_are_not_kept(tmp_path):
    store = DiskFeatureStore(CPU, tmp_path, capacity_bytes=100)
    store.keep(KEY, patches())
    assert store.find(KEY) is None
    assert files(tmp_path) == []


def test_a_full_disk_means_not_kept_and_is_told_once(tmp_path, caplog):
    store = DiskFeatureStore(CPU, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        for number in range(3):
            store.keep(bytes([number]) * 32, patches(channels=(100,)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Work goes on without" in caplog.text
    store.keep(KEY, patches())
    assert same(store.find(KEY), patches())


@pytest.mark.parametrize("where", ["file", "refused"])
def test_a_folder_that_cannot_be_used_means_not_kept(tmp_path, where, monkeypatch, caplog):
    (tmp_path / "file").write_bytes(b"")
    if where == "refused":

        def refuse(*_: object) -> bytes:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
    store = DiskFeatureStore(CPU, tmp_path / "file" if where == "file" else tmp_path / "cache")
    store.keep(KEY, patches())
    assert store.find(KEY) is None
    assert store.find(KEY) is None
    assert len(caplog.records) == 1


def keep_and_find(folder: Path, rounds: int) -> None:
    """Ends with an error where something else comes back than was kept."""
    store = DiskFeatureStore(CPU, folder, capacity_bytes=100_000)
    frame = SquareFrame((4, 4), (1.0, 1.0), 4, (0.0, 0.0), 4.0)
    for number in [*range(40)] * rounds:
        kept = SlicePatches(frame, np.ones((4, 4), bool), (torch.full((50, 4, 4), number + 0.1),))
        found = store.find(bytes([number]) * 32)
        if found is None:
            store.keep(bytes([number]) * 32, kept)
        else:
            assert same(found, kept)
    assert not store._told


def test_several_processes_write_read_and_remove_at_once(tmp_path, caplog):
    # Forked, since starting anew takes seconds; one thread each, as a fork has only that.
    running = [multiprocessing.get_context("fork").Process(target=keep_and_find, args=(tmp_path, 5)) for _ in range(3)]
    for one in running:
        one.start()
    keep_and_find(tmp_path, 5)
    for one in running:
        one.join()
    assert [one.exitcode for one in running] == [0, 0, 0]
    assert caplog.text == ""
    assert {path.suffix for path in files(tmp_path)} == {".safetensors"}
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 100_000 * (1 + 4 / 16)


def test_several_threads_share_a_store(tmp_path):
    store, faults = DiskFeatureStore(CPU, tmp_path), []

    def work() -> None:
        for number in range(30):
            store.keep(bytes([number]) * 32, patches(number))
            if not same(store.find(bytes([number]) * 32), patches(number)):
                faults.append(number)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_memory_is_asked_first_and_filled_from_the_disk(tmp_path):
    memory, disk = FeatureStore(), DiskFeatureStore(CPU, tmp_path)
    LayeredFeatureStore(memory, disk).keep(KEY, patches())
    assert same(memory.find(KEY), patches())
    assert same(disk.find(KEY), patches())
    fresh = FeatureStore()
    layered = LayeredFeatureStore(fresh, disk)
    assert layered.find(b"l" * 32) is None
    assert same(layered.find(KEY), patches())
    files(tmp_path)[0].unlink()
    assert layered.find(KEY) is fresh.find(KEY) is not None


def test_the_default_place(monkeypatch):
    monkeypatch.delenv("ANOMALABEL_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/reader")
    assert cache_folder() == Path("/home/reader/.cache/anomalabel/features")
    monkeypatch.setenv("ANOMALABEL_CACHE", "/scratch")
    assert cache_folder() == Path("/scratch/features")


def probe(folder: Path) -> int:
    """Bytes of one file."""
    DiskFeatureStore(CPU, folder).keep(KEY, patches())
    # Numbers in the frame differ in length by a few digits.
    return files(folder)[0].stat().st_size + 16


def age(store: DiskFeatureStore, key: bytes, seconds: float) -> None:
    path = store._path(store._name(key))
    os.utime(path, (path.stat().st_mtime - seconds,) * 2)
