"""Shots: nested, apart from the test, and the same whenever they are drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.shots import draw_shots


def cases_of(prefix, count, abnormal=False, patient=None):
    return tuple(
        EvaluationCase(
            f"{prefix}{number}", Path(f"{prefix}{number}.png"), abnormal, patient=patient and patient(number)
        )
        for number in range(count)
    )


def pairs(number):
    return f"patient {number // 2}"


SET = EvaluationSet("set", cases_of("n", 40) + cases_of("a", 5, abnormal=True))
APART = replace(SET, healthy=cases_of("h", 40))


@settings(deadline=None)
@given(
    normal=st.integers(18, 30),
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=4),
    seed=st.integers(-5, 10**9),
    healthy=st.booleans(),
    known=st.booleans(),
)
def test_nested_and_disjoint(normal, counts, seed, healthy, known):
    patient = pairs if known else None
    cases = cases_of("n", normal, patient=patient) + cases_of("a", 40, abnormal=True, patient=patient)
    apart = cases_of("h", 20, patient=lambda number: f"healthy {number // 3}") if healthy else ()
    evaluation_set = EvaluationSet("set", cases, apart)
    draws = draw_shots(evaluation_set, counts, draws=3, seed=seed)
    assert [draw.draw for draw in draws] == [0, 1, 2]
    for draw in draws:
        assert len(draw.shots) == len(set(draw.shots)) == max(counts)
        assert all(not shot.abnormal for shot in draw.shots)
        assert set(draw.shots) <= set(apart or cases)
        for smaller in counts:
            assert draw.first(smaller) == draw.shots[:smaller]
            alone = draw_shots(evaluation_set, [smaller], draws=3, seed=seed)[draw.draw]
            assert alone.shots == draw.first(smaller)
        patients = {shot.patient for shot in draw.shots} - {None}
        expected = [case for case in cases if case not in draw.shots and case.patient not in patients]
        assert draw.test == tuple(expected)


def test_draws_stay_when_draws_are_added_and_change_with_draw_and_seed():
    few, many = draw_shots(APART, [8], 2, seed=7), draw_shots(APART, [8], 5, seed=7)
    assert few == many[:2]
    assert len({draw.shots for draw in (*many, *draw_shots(APART, [8], 5, seed=8))}) == 10


def test_an_image_that_goes_changes_only_its_own_place():
    before = draw_shots(APART, [10], 1, seed=0)[0].shots
    without = replace(APART, healthy=tuple(case for case in APART.healthy if case != before[3]))
    after = draw_shots(without, [10], 1, seed=0)[0].shots
    assert after[:9] == before[:3] + before[4:]


def test_the_order_of_the_listing_does_not_matter():
    turned = replace(APART, healthy=APART.healthy[::-1])
    assert draw_shots(turned, [8], 2, 0) == draw_shots(APART, [8], 2, 0)


def test_every_image_is_drawn_about_as_often():
    drawn = Counter(shot.identity for draw in draw_shots(APART, [10], 400, seed=1) for shot in draw.shots)
    assert len(drawn) == 40
    # 100 expected, standard deviation 8.7: five of them.
    assert all(abs(count - 100) < 44 for count in drawn.values())


def test_tests_of_a_healthy_set_are_whole_and_free_of_its_patients():
    healthy = cases_of("h", 10, patient=lambda number: "tested" if number < 6 else f"other {number}")
    cases = (replace(SET.cases[0], patient="tested"), *SET.cases[1:])
    evaluation_set = EvaluationSet("set", cases, healthy)
    for draw in draw_shots(evaluation_set, [4], 5, 0):
        assert draw.test == cases
        assert {shot.identity for shot in draw.shots} == {"h6", "h7", "h8", "h9"}
    with pytest.raises(
        ConfigError, match=r"4 healthy images to draw from \(6 more are of patients who are tested\); 5"
    ):
        draw_shots(evaluation_set, [2, 5], 1, 0)


def test_too_few_images():
    with pytest.raises(ConfigError, match="set has 40 healthy images to draw from among the normal ones; 41 shots"):
        draw_shots(SET, [4, 41], 1, 0)
    with pytest.raises(ConfigError, match="40 normal images; none would be left to test beside 40 shots"):
        draw_shots(SET, [40], 1, 0)
    same = replace(SET, cases=tuple(replace(case, patient=case.identity[1:]) for case in SET.cases))
    with pytest.raises(ConfigError, match="5 abnormal images; none would be left"):
        draw_shots(same, [39], 1, 0)


@pytest.mark.parametrize(("counts", "draws"), [([], 1), ([-1], 1), ([4], 0)])
def test_numbers_out_of_range(counts, draws):
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw_shots(SET, counts, draws, 0)


def test_no_shots_leave_the_test_whole():
    (draw,) = draw_shots(SET, [0], 1, 0)
    assert draw.shots == draw.first(0) == ()
    assert draw.test == SET.cases
    with pytest.raises(ConfigError, match="1 shots of a draw of 0"):
        draw.first(1)
