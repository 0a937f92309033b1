"""Jobs run off the window's thread, one at a time, and always end."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from AnomaLabelLib.errors import BusyError, InternalError, PanelError, RunCancelledError
from AnomaLabelLib.server.jobs import Failed, Finished, Jobs, Progress


def take_all(jobs: Jobs, patience_s: float = 5) -> list:
    outcomes = []
    end = time.monotonic() + patience_s
    while jobs.busy and time.monotonic() < end:
        outcome = jobs.take(0.01)
        if outcome is not None:
            outcomes.append(outcome)
    assert not jobs.busy
    return outcomes


def test_progress_then_the_value_from_another_thread():
    def work(context):
        context.report(1, 2)
        return threading.get_ident()

    jobs = Jobs()
    jobs.submit("count", work)
    progress, finished = take_all(jobs)
    assert progress == Progress(1, 2)
    assert isinstance(finished, Finished)
    assert finished.value != threading.get_ident()


def test_taking_never_waits_longer_than_told():
    release = threading.Event()
    jobs = Jobs()
    jobs.submit("wait", lambda context: release.wait(5))
    start = time.perf_counter()
    assert jobs.take() is None
    assert time.perf_counter() - start < 0.05
    release.set()
    take_all(jobs)


def test_only_one_at_a_time():
    release = threading.Event()
    jobs = Jobs()
    jobs.submit("first", lambda context: release.wait(5))
    with pytest.raises(BusyError):
        jobs.submit("second", lambda context: None)
    release.set()
    assert take_all(jobs) == [Finished("first", True)]
    jobs.submit("second", lambda context: 2)
    assert take_all(jobs) == [Finished("second", 2)]


def test_an_error_for_the_user_arrives_as_it_is():
    error = PanelError("cause", "remedy")

    def work(context):
        raise error

    jobs = Jobs()
    jobs.submit("fail", work)
    assert take_all(jobs) == [Failed("fail", error)]


def test_a_fault_of_our_own_ends_the_job_and_goes_to_the_console(monkeypatch):
    printed = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda fault: printed.put(fault.exc_type))
    jobs = Jobs()
    jobs.submit("fault", lambda context: 1 / 0)
    (failed,) = take_all(jobs)
    assert isinstance(failed.error, InternalError)
    assert printed.get(timeout=5) is ZeroDivisionError


def test_a_job_that_cannot_be_stopped_is_left_to_itself():
    release, ended = threading.Event(), threading.Event()

    def stubborn(context):
        context.cancelled.wait(5)
        release.wait(5)
        context.report(9, 9)
        ended.set()
        return "late"

    jobs = Jobs(grace_s=0.05)
    jobs.submit("stubborn", stubborn)
    jobs.cancel()
    (failed,) = take_all(jobs)
    assert isinstance(failed.error, RunCancelledError)
    jobs.submit("next", lambda context: "next")
    release.set()
    assert ended.wait(5)
    assert take_all(jobs) == [Finished("next", "next")]
    assert jobs.take() is None
