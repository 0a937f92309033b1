"""The queue on disk among several processes, and when one of them is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from AnomaLabelLib.review.journal import Journal

SERVER = "http://127.0.0.1:8000"
FOLDERS = [Path(__file__).resolve().parents[3] / "slicer_extension" / "AnomaLabel", Path(__file__).parent]


def program(code: str, *arguments: object) -> subprocess.Popen:
    """A Python process that knows `Journal`, `event`, `SERVER` and `folder`; its lines come through its output."""
    head = f"""
        import sys
        sys.modules["slicer"] = None  # The journal needs none of it, and it takes a second to load.
        sys.path[:0] = {[str(folder) for folder in FOLDERS]!r}
        from pathlib import Path
        from AnomaLabelLib.review.journal import Journal
        from review_examples import event
        SERVER = {SERVER!r}
        folder = Path(sys.argv[1])
    """
    code = textwrap.dedent(head) + textwrap.dedent(code)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_acknowledge_and_compact_at_once(tmp_path):
    code = """
        journal = Journal(folder)
        for number in range(60):
            act = event("case_normal", reviewer=sys.argv[2])
            journal.append(SERVER, act)
            if number % 2:
                journal.acknowledge(act.event_id)
            else:
                print(act.event_id, flush=True)
            if number % 10 == 9:
                journal.compact()
    """
    processes = [program(code, tmp_path, name) for name in ("anna", "ben")]
    printed = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    queued = [act.event for act in Journal(tmp_path).pending(SERVER)]
    for name, ids in zip(("anna", "ben"), printed, strict=True):
        assert [each.event_id for each in queued if each.reviewer == name] == ids
        assert len(ids) == 30
    assert len(queued) == 60


def test_what_was_kept_before_a_kill_is_there_after_it(tmp_path):
    code = """
        journal = Journal(folder)
        while True:
            act = event("case_normal")
            journal.append(SERVER, act)
            print(act.event_id, flush=True)
            if len(journal.pending(SERVER)) % 7 == 0:
                journal.compact()
    """
    generator = random.Random(0)
    told: list[str] = []
    for _kill in range(3):
        process = program(code, tmp_path)
        first = process.stdout.readline().split()
        time.sleep(generator.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        told += [*first, *process.communicate()[0].split()]
        assert process.returncode == -signal.SIGKILL
        kept = [act.event.event_id for act in Journal(tmp_path).pending(SERVER)]
        # One more may be on disk than was told of.
        assert [event_id for event_id in kept if event_id in set(told)] == told
        assert 0 <= len(kept) - len(told) <= _kill + 1


def test_a_line_that_the_disk_takes_only_in_part_is_cut_off_again(tmp_path):
    code = """
        import resource, signal
        from AnomaLabelLib.errors import JournalError
        journal = Journal(folder)
        journal.append(SERVER, event("case_normal"))
        room = (folder / "acts.jsonl").stat().st_size + 40
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            journal.append(SERVER, event("case_abnormal"))
        except JournalError as error:
            print(error.cause)
        print((folder / "acts.jsonl").stat().st_size + 40 == room)
    """
    output = program(code, tmp_path).communicate(timeout=60)[0].splitlines()
    assert "cannot be used" in output[0] or "is full" in output[0]
    assert output[1] == "True"
    assert [act.event.action for act in Journal(tmp_path).pending(SERVER)] == ["case_normal"]
