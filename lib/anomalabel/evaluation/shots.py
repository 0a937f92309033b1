"""Which healthy images a method learns from, and which images it is then tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from anomalabel.errors import ConfigError
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet


@dataclass(frozen=True)
class ShotDraw:
    """One draw.

    Args:
        draw: its number, from 0.
        shots: as many as the largest number asked for, in the order they were drawn.
        test: what is tested, the same for every number of shots of this draw.
    """

    draw: int
    shots: tuple[EvaluationCase, ...]
    test: tuple[EvaluationCase, ...]

    def first(self, count: int) -> tuple[EvaluationCase, ...]:
        """The first `count` shots: 4 shots are the first 4 of the same draw's 8, 16 and 32.

        Raises:
            ConfigError: so many were not drawn.
        """
        if not 0 <= count <= len(self.shots):
            raise ConfigError(f"{count} shots of a draw of {len(self.shots)} were asked for.", "Draw more shots.")
        return self.shots[:count]


def draw_shots(evaluation_set: EvaluationSet, counts: Sequence[int], draws: int, seed: int) -> list[ShotDraw]:
    """Draw shots without replacement, `draws` times.

    The images are put in the order of a hash of seed, draw and identity: a random order that stays the same when draws
    are added, when the largest number of shots changes, and when single images come or go.

    - With a healthy set, shots come from there; images of a patient who is tested are never drawn, and the test is the
      whole set in every draw.
    - Without one, shots come from the normal cases. They and every other image of their patients leave the test of that
      draw, for the largest number of shots at once, so that curves over the number of shots have one test. Tests of two
      draws, or for another largest number, then differ.

    Args:
        evaluation_set: with unique identities.
        counts: numbers of shots, each at least 0; the largest is drawn.
        draws: at least 1.
        seed: any integer.

    Raises:
        ConfigError: a number is out of range, there are too few healthy images, or no normal or no abnormal image of
            the set would be left to test.
    """
    if not counts or min(counts) < 0 or draws < 1:
        raise ConfigError(
            f"{list(counts)} shots in {draws} draws cannot be drawn.", "Give shots from 0 and draws from 1."
        )
    wanted = max(counts)
    pool = _pool(evaluation_set, wanted)
    by_identity = {case.identity: case for case in pool}
    drawn = []
    for draw in range(draws):
        ranked = sorted((_rank(seed, draw, case.identity), case.identity) for case in pool)
        shots = tuple(by_identity[identity] for _, identity in ranked[:wanted])
        test = _without(evaluation_set.cases, shots)
        _require_test(evaluation_set, test, wanted)
        drawn.append(ShotDraw(draw, shots, test))
    return drawn


def healthy_apart(evaluation_set: EvaluationSet) -> list[EvaluationCase]:
    """The images of the healthy set whose patients are not tested."""
    tested = {case.patient for case in evaluation_set.cases if case.patient is not None}
    return [case for case in evaluation_set.healthy if case.patient not in tested]


def _pool(evaluation_set: EvaluationSet, wanted: int) -> list[EvaluationCase]:
    """What shots may be drawn from."""
    if evaluation_set.healthy:
        pool = healthy_apart(evaluation_set)
        shared = len(evaluation_set.healthy) - len(pool)
        besides = f" ({shared} more are of patients who are tested)" if shared else ""
    else:
        pool = [case for case in evaluation_set.cases if not case.abnormal]
        besides = " among the normal ones"
    if len(pool) < wanted:
        raise ConfigError(
            f"{evaluation_set.name} has {len(pool)} healthy images to draw from{besides}; {wanted} shots are wanted.",
            f"Ask for at most {len(pool)} shots, or give more healthy images.",
        )
    return pool


def _rank(seed: int, draw: int, identity: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{draw}\n{identity}".encode("utf-8", "surrogateescape")).digest()


def _without(cases: Sequence[EvaluationCase], shots: Sequence[EvaluationCase]) -> tuple[EvaluationCase, ...]:
    """The cases that share neither identity nor patient with a shot."""
    identities = {shot.identity for shot in shots}
    patients = {shot.patient for shot in shots if shot.patient is not None}
    return tuple(case for case in cases if case.identity not in identities and case.patient not in patients)


def _require_test(evaluation_set: EvaluationSet, test: Sequence[EvaluationCase], wanted: int) -> None:
    for abnormal, kind in ((False, "normal"), (True, "abnormal")):
        total = sum(case.abnormal == abnormal for case in evaluation_set.cases)
        if total and not any(case.abnormal == abnormal for case in test):
            raise ConfigError(
                f"{evaluation_set.name} has {total} {kind} images; none would be left to test beside {wanted} shots "
                "and the other images of their patients.",
                "Ask for fewer shots, or give healthy images to draw from (--healthy).",
            )
