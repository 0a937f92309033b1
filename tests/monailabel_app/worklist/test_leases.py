"""Leases: one client at a time, renewed by asking again, over when their time is."""

import threading
from datetime import datetime, timedelta, timezone

import pytest

from monailabel_app.worklist.leases import Leases, LeaseTaken

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(900, clock)


def test_another_client_is_told_who_has_the_case_and_until_when(leases: Leases, clock: Clock) -> None:
    assert leases.take("head", "anna", "one").until_utc == NOON + timedelta(minutes=15)
    clock.forward(40 * 60 - 15 * 60 - 1)
    assert leases.take("head", "anna", "one").until_utc == NOON + timedelta(seconds=40 * 60 - 1)
    with pytest.raises(LeaseTaken) as refused:
        leases.take("head", "ben", "two")
    assert str(refused.value) == "anna has this case open until 12:39 UTC. Take another case, or wait until then."


def test_a_lease_ends_by_itself_and_renewing_keeps_it(leases: Leases, clock: Clock) -> None:
    leases.take("head", "anna", "one")
    clock.forward(899)
    leases.take("head", "anna", "one")
    clock.forward(899)
    assert leases.held()["head"].reviewer == "anna"
    clock.forward(1)
    assert leases.held() == {}
    assert leases.take("head", "ben", "two").reviewer == "ben"


def test_only_its_client_gives_a_lease_back(leases: Leases) -> None:
    leases.take("head", "anna", "one")
    leases.take("neck", "anna", "one")
    assert leases.give_back("head", "two") is False
    assert sorted(leases.held()) == ["head", "neck"]
    assert leases.give_back("head", "one") is True
    assert leases.give_back("head", "one") is False
    assert sorted(leases.held()) == ["neck"]


def test_of_many_that_ask_at_once_one_gets_the_case() -> None:
    leases, won, start = Leases(), [], threading.Barrier(16)

    def ask(number: int) -> None:
        start.wait()
        try:
            won.append(leases.take("head", f"R{number}", str(number)).client)
        except LeaseTaken:
            return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert leases.held()["head"].client == won[0]
