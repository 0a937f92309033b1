"""Requests that make no sense, and draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.protocol import EvaluationRequest, plan_draws, rules_of


def request_of(**changes) -> EvaluationRequest:
    return EvaluationRequest(**{"config": "brain_mri", "methods": ("intensity",), **changes})


def cases(kind: str, count: int, patients: int = 0) -> tuple[EvaluationCase, ...]:
    return tuple(
        EvaluationCase(
            f"{kind}{number}",
            Path(f"{kind}{number}.png"),
            kind == "abnormal",
            patient=f"{kind} {number % patients}" if patients else None,
        )
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ()}, "methods"),
        ({"methods": ("intensity", "intensity")}, "named twice"),
        ({"methods": ("magic",)}, "methods"),
        ({"shots": ()}, "shots"),
        ({"shots": (4, 4)}, "named twice"),
        ({"shots": (-1,)}, "negative"),
        ({"shots": (0, 4)}, "stands alone"),
        ({"draws": 0}, "draws"),
        ({"image_quantile": 1.0}, "image_quantile"),
        ({"resamples": -1}, "resamples"),
    ],
)
def test_requests_are_checked(changes, words):
    with pytest.raises(ValidationError, match=words):
        request_of(**changes)


def test_fewer_shots_are_the_first_of_more():
    images = EvaluationSet("set", cases("normal", 30) + cases("abnormal", 5))
    (draw, *_) = plan_draws(images, request_of(shots=(4, 8)), set())
    assert draw.learnt(4) == draw.shots[:4]
    assert draw.learnt(8) == draw.shots
    assert len(draw.shots) == 8
    assert not set(draw.shots) & set(draw.tested)
    assert len(draw.tested) == 30 - 8 + 5


def test_patients_of_shots_are_not_tested():
    images = EvaluationSet("set", cases("normal", 30, 10) + cases("abnormal", 5))
    for draw in plan_draws(images, request_of(shots=(3,)), set()):
        assert not {case.patient for case in draw.shots} & {case.patient for case in draw.tested}


def test_what_cannot_be_read_is_neither_drawn_nor_tested():
    images = EvaluationSet("set", cases("normal", 12) + cases("abnormal", 5), cases("healthy", 5))
    unreadable = {images.healthy[0], images.cases[3], images.cases[-1]}
    for draw in plan_draws(images, request_of(shots=(4,)), unreadable):
        assert sorted(draw.shots, key=lambda case: case.identity) == list(images.healthy[1:])
        assert set(draw.tested) == set(images.cases) - unreadable
    with pytest.raises(ConfigError, match="4 shots"):
        plan_draws(images, request_of(shots=(4,)), unreadable | {images.healthy[1]})


def test_without_shots_healthy_images_set_thresholds_alone():
    images = EvaluationSet("set", cases("normal", 12) + cases("abnormal", 5), cases("healthy", 100))
    (draw,) = plan_draws(images, request_of(shots=(0,)), set())
    assert (draw.shots, draw.tested) == ((), images.cases)
    assert len(set(draw.calibration)) == 64
    assert draw.learnt(0) == draw.calibration
    bare = EvaluationSet("set", images.cases)
    (draw,) = plan_draws(bare, request_of(shots=(0,)), set())
    assert (draw.calibration, draw.tested) == ((), images.cases)


def test_rules_name_the_quantiles_and_the_source_of_the_shots():
    images = EvaluationSet("set", cases("normal", 12))
    text = " ".join(rules_of(request_of(image_quantile=0.9), images))
    assert "quantile 0.9 of the scores and quantile 0.99 of the map values" in text
    assert "the drawn ones leave the test" in text
    assert "256 pixels" in text
