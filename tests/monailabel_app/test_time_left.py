"""The time that a stage still takes, judged by steps whose times are made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monailabel_app.background.time_left import TimeLeft

STAGE = "training"


def after(steps: list[tuple[float, int]], total: int) -> TimeLeft:
    """What was noted at (second, steps done)."""
    left = TimeLeft()
    for second, done in steps:
        left.note(STAGE, done, total, second)
    return left


def test_nothing_is_said_before_the_first_step_or_without_a_total() -> None:
    assert TimeLeft().seconds(0) is None
    assert after([(0, 0)], 10).seconds(5) is None
    assert after([(0, 0), (1, 0), (2, 0)], 10).seconds(5) is None
    assert after([(0, 0), (1, 1)], 0).seconds(5) is None


def test_even_steps_of_two_seconds() -> None:
    left = after([(2.0 * step, step) for step in range(11)], 100)
    assert left.seconds(20) == pytest.approx(180)
    assert left.seconds(21.5) == pytest.approx(178.5)


def test_a_step_that_takes_long_is_not_taken_for_the_end() -> None:
    left = after([(2.0 * step, step) for step in range(11)], 12)
    assert left.seconds(22) == pytest.approx(2)
    assert left.seconds(500) == pytest.approx(2)


def test_a_stage_that_starts_slowly_is_judged_by_its_newest_steps() -> None:
    # The first step takes a minute, as where a graphics card warms up; the others a second.
    steps = [(0.0, 0), *((59.0 + step, step) for step in range(1, 7))]
    assert after(steps[:2], 100).seconds(60) == pytest.approx(99 * 60)
    assert after(steps[:4], 100).seconds(62) == pytest.approx(97 * 1)
    assert after(steps, 100).seconds(65) == pytest.approx(94 * 1)


def test_a_stage_that_slows_down_is_noticed_within_two_minutes() -> None:
    fast = [(0.1 * step, step) for step in range(1001)]
    slow = [(100 + 2.0 * step, 1000 + step) for step in range(1, 61)]
    assert after(fast + slow, 2000).seconds(220) == pytest.approx(940 * 2, rel=0.02)


def test_a_pause_between_epochs_counts() -> None:
    steps, second = [(0.0, 0)], 0.0
    for done in range(1, 201):
        second += 1.0 if done % 10 else 11.0
        steps.append((second, done))
    # Ten steps take 20 seconds.
    assert after(steps, 400).seconds(second) == pytest.approx(400, rel=0.1)


def test_work_that_goes_on_from_a_checkpoint_counts_its_own_steps() -> None:
    left = after([(0, 5000), (1, 5010), (2, 5020)], 6000)
    assert left.seconds(2) == pytest.approx(98)


def test_another_stage_or_total_or_a_step_back_starts_anew() -> None:
    for stage, done, total in (("checking", 3, 10), (STAGE, 3, 12), (STAGE, 1, 10)):
        left = after([(0, 0), (1, 1), (2, 2)], 10)
        left.note(stage, done, total, 2.5)
        assert left.seconds(2.5) is None
        left.note(stage, done + 1, total, 3.5)
        assert left.seconds(3.5) == pytest.approx(total - done - 1)


def test_fast_steps_fill_no_memory() -> None:
    left = after([(step / 1000, step) for step in range(100_000)], 200_000)
    assert len(left._noted) < 500
    assert left.seconds(100) == pytest.approx(100.001, rel=0.01)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5)), min_size=1, max_size=50),
    st.integers(0, 300),
    st.floats(0, 1000),
)
def test_it_is_never_negative_and_nothing_where_all_is_done(
    moves: list[tuple[float, int]], total: int, later: float
) -> None:
    left, second, done = TimeLeft(), 0.0, 0
    for seconds, steps in moves:
        second, done = second + seconds, done + steps
        left.note(STAGE, done, total, second)
    told = left.seconds(second + later)
    assert told is None or told >= 0
    if told is not None and done >= total:
        assert told == 0
