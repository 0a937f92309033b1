"""The times of a training, by a clock that the test turns."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from server_talk import wait_for

from monailabel_app.background.status import WorkStatus, last_status, save_status
from monailabel_app.trainers.background import BackgroundTraining


@dataclass
class Stepped:
    """A training whose steps the test takes, each at a time of its own.

    Args:
        seconds: what the clock shows.
    """

    file: Path
    seconds: float = 1000.0
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    taken: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.training = BackgroundTraining(self.file, lambda: self.seconds)

    def work(self, watch: Callable[[str, int, int], None]) -> dict[str, Any]:
        while True:
            assert self.asked.acquire(timeout=20)
            if not self.steps:
                return {"model": "x"}
            watch(*self.steps.pop())
            self.taken.release()

    def step(self, second: float, stage: str, done: int, total: int) -> WorkStatus:
        """The status after a step at a second."""
        self.seconds = second
        self.steps.append((stage, done, total))
        self.asked.release()
        assert self.taken.acquire(timeout=20)
        assert self.training.status is not None
        return self.training.status

    def end(self, second: float) -> WorkStatus:
        """The status after the work has ended."""
        self.seconds = second
        self.asked.release()
        wait_for(lambda: not self.training.running)
        assert self.training.status is not None
        return self.training.status


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[Stepped]:
    made = Stepped(tmp_path / "training.json")
    yield made
    made.training.close()
    made.asked.release()


def times(status: WorkStatus) -> tuple[float | None, float | None]:
    return status.seconds_running, status.seconds_left


def test_the_times_of_a_training_from_its_start_to_its_end(stepped: Stepped) -> None:
    assert times(stepped.training.start("task", {}, stepped.work)) == (0, None)
    assert times(stepped.step(1004, "reading", 0, 0)) == (4, None)
    assert times(stepped.step(1010, "training", 0, 20)) == (10, None)
    assert times(stepped.step(1013, "training", 1, 20)) == (13, 57)
    assert times(stepped.step(1016.26, "training", 2, 20)) == (16.3, 58.7)
    stepped.seconds = 1017.26
    assert times(stepped.training.status) == (17.3, 57.7)
    assert times(stepped.step(1020, "writing the model", 0, 1)) == (20, None)
    done = stepped.end(1021)
    assert (done.status, times(done)) == ("DONE", (21, None))
    stepped.seconds = 2000
    assert times(stepped.training.status) == times(last_status(stepped.file)) == (21, None)


def test_a_training_that_is_cancelled_says_no_time(stepped: Stepped) -> None:
    stepped.training.start("task", {}, stepped.work)
    stepped.step(1000, "training", 0, 20)
    assert times(stepped.step(1001, "training", 1, 20)) == (1, 19)
    stepped.seconds = 1002
    assert times(stepped.training.cancel()) == (2, None)
    stepped.steps.append(("training", 2, 20))
    stopped = stepped.end(1003)
    assert (stopped.status, times(stopped)) == ("STOPPED", (3, None))


def test_the_times_of_the_next_training_start_anew(stepped: Stepped) -> None:
    stepped.training.start("task", {}, stepped.work)
    stepped.step(1000, "training", 0, 20)
    stepped.step(1001, "training", 1, 20)
    stepped.end(1002)
    assert times(stepped.training.start("task", {}, stepped.work)) == (0, None)
    assert times(stepped.step(1005, "training", 2, 20)) == (3, None)


@pytest.mark.parametrize(
    ("resumes", "remedy"),
    [
        (False, "Start the training again."),
        (True, "Start it again with the same request: it goes on from its last checkpoint."),
    ],
)
def test_a_server_that_was_killed_says_what_to_do_and_no_times(tmp_path: Path, resumes: bool, remedy: str) -> None:
    file = tmp_path / "training.json"
    save_status(file, WorkStatus(model="task", request={"seed": 3}, resumes=resumes))
    found = BackgroundTraining(file).status
    assert found is not None
    assert (found.status, times(found), found.request) == ("ERROR", (None, None), {"seed": 3})
    assert found.error.endswith(f" {remedy}")
