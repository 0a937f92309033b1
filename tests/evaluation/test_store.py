"""What is finished stays, whole; what changes gets another key."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from anomalabel.errors import ImageReadError, OutputError
from anomalabel.evaluation.calibration import HealthyOutcome
from anomalabel.evaluation.store import FILE, FOLDER, code_version, hash_of_files, key_of, open_store

KINDS = (HealthyOutcome,)


def outcome(score: float) -> HealthyOutcome:
    return HealthyOutcome(score, np.full(3, score, dtype=np.float32))


def test_records_outlive_the_store(tmp_path):
    with open_store(tmp_path, KINDS) as store:
        assert "a" not in store
        assert store.get("a") is None
        store.put({"a": outcome(1.0), "b": outcome(2.0)})
        store.put({"a": outcome(3.0)})
    with open_store(tmp_path, KINDS) as store:
        assert "a" in store
        assert store.get("a").score == 3.0
        assert store.get("b").profile.tolist() == [2.0, 2.0, 2.0]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    class Stopped(dict):
        def items(self):
            yield "a", outcome(1.0)
            raise KeyboardInterrupt

    with open_store(tmp_path, KINDS) as store:
        with pytest.raises(KeyboardInterrupt):
            store.put(Stopped())
        assert "a" not in store


def test_a_process_killed_within_a_write_leaves_the_entries_before(tmp_path):
    with open_store(tmp_path, KINDS) as store:
        store.put({"a": outcome(1.0)})
    other = sqlite3.connect(tmp_path / FOLDER / FILE)
    other.execute("INSERT INTO results VALUES ('b', 'half')")
    other.close()
    with open_store(tmp_path, KINDS) as store:
        assert store.get("a").score == 1.0
        assert "b" not in store


def test_an_entry_that_is_no_record_is_dropped(tmp_path):
    with open_store(tmp_path, KINDS):
        pass
    with sqlite3.connect(tmp_path / FOLDER / FILE) as connection:
        connection.execute("INSERT INTO results VALUES ('a', 'rubbish')")
    with open_store(tmp_path, KINDS) as store:
        assert store.get("a") is None
        assert "a" not in store


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(OutputError, match=FILE), open_store(tmp_path, KINDS):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / FOLDER).write_text("a file")
    with pytest.raises(OutputError, match=FOLDER), open_store(tmp_path, KINDS):
        pass


def test_keys_tell_values_apart_and_not_their_order():
    assert key_of({"a": 1, "b": [2, 3]}) == key_of({"b": [2, 3], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})
    assert key_of({"a": [1, 2]}) != key_of({"a": [2, 1]})
    with pytest.raises(TypeError):
        key_of({"a": Path("x")})


def test_hashes_follow_contents(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    first.write_bytes(b"12")
    second.write_bytes(b"12")
    assert hash_of_files(first) == hash_of_files(second)
    assert hash_of_files(first, None) != hash_of_files(None, first)
    assert hash_of_files(first, second) != hash_of_files(first)
    second.write_bytes(b"13")
    assert hash_of_files(first) != hash_of_files(second)


def test_where_one_file_ends_counts(tmp_path):
    for name, content in (("a", b"1"), ("b", b"23"), ("c", b"12"), ("d", b"3")):
        (tmp_path / name).write_bytes(content)
    assert hash_of_files(tmp_path / "a", tmp_path / "b") != hash_of_files(tmp_path / "c", tmp_path / "d")


def test_a_folder_hashes_all_its_files(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"1")
    before = hash_of_files(series)
    (series / "2.dcm").write_bytes(b"2")
    assert hash_of_files(series) != before


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageReadError, match=r"gone\.png"):
        hash_of_files(tmp_path / "gone.png")


def test_the_code_has_one_version_in_a_process():
    assert code_version() == code_version()
    assert len(code_version().split()[1]) == 64
