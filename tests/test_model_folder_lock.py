"""One training at a time for a model folder, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalabel.errors import OutputError
from anomalabel.model_folder.lock import LOCK_FILE, training_lock

HOLD = """
import sys, time
from pathlib import Path
from anomalabel.model_folder.lock import training_lock
with training_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_refused_at_once_and_a_later_one_not(tmp_path):
    folder = tmp_path / "model"
    with training_lock(folder):
        (folder / "state").touch()
        started = time.monotonic()
        with pytest.raises(OutputError, match=r"Another training is at work in .*model\."), training_lock(folder):
            pytest.fail("two trainings at once")
        assert time.monotonic() - started < 1
        with training_lock(tmp_path / "other"):
            pass
    with training_lock(folder):
        assert (folder / "state").exists()


def test_a_refused_training_leaves_the_first_ones_lock(tmp_path):
    with training_lock(tmp_path):
        for _ in range(2):
            with pytest.raises(OutputError, match="Another training"), training_lock(tmp_path):
                pytest.fail("two trainings at once")
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_killed_training_holds_nothing(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="Another training"), training_lock(tmp_path):
            pytest.fail("two trainings at once")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with training_lock(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="torn"), training_lock(tmp_path):
        raise ValueError("torn")
    with training_lock(tmp_path):
        pass


def test_a_folder_that_nothing_came_into_is_removed_again(tmp_path):
    folder = tmp_path / "new" / "model"
    with training_lock(folder):
        assert folder.is_dir()
    assert not folder.exists()
    folder.mkdir(parents=True)
    with training_lock(folder):
        pass
    assert folder.is_dir()


@pytest.mark.parametrize("below", ["", "model"])
def test_a_file_where_the_folder_should_be(tmp_path: Path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"), training_lock(tmp_path / "file" / below):
        pytest.fail("nothing to lock")
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
