"""What an evaluation consists of: which methods are tried with which shots on which images, and the rules it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from anomalabel.config import EMBEDDED, Method, Settings
from anomalabel.errors import ConfigError
from anomalabel.evaluation.calibration import MAXIMUM_FOLDS
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.grid import GRID_RULE
from anomalabel.evaluation.shots import draw_shots, healthy_apart

CALIBRATION_IMAGES = 64
"""Healthy images that set the thresholds of methods that are given no shots, where there is a healthy set."""

MOST_CALIBRATION_IMAGES = 256
"""Of the shots, for methods that do not learn from them: more would only take time."""

SEEDS = 2**32

EMPTY_MASK_RULE = (
    "A healthy image has an empty mask: its pixels count as healthy in the pooled pixel metrics, and it enters no "
    "mean over lesions (Hausdorff, HD95, boundary F1, Dice of single images). A sick image without a mask is left out "
    "of the pixel metrics, one without mask and boxes out of the finding metrics; one whose mask is empty counts as "
    "sick with healthy pixels. An empty prediction on a lesion has the image's diagonal as its distance."
)


class EvaluationRequest(Settings):
    """What one call of `evaluate` asks for."""

    config: str
    methods: tuple[Method, ...] = Field(min_length=1, description="the first is compared with each other one")
    shots: tuple[int, ...] = Field(default=(16,), description="healthy images to learn from; 0 for none")
    all_shots: bool = Field(default=False, description="also from all images of the healthy set")
    draws: int = Field(default=5, ge=1, le=100, description="draws of the shots")
    backbone: str = EMBEDDED
    positive: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None
    resamples: int = Field(default=1000, ge=0, le=100_000, description="of the bootstrap over patients")
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: str = "auto"
    image_quantile: float = Field(default=0.95, gt=0, lt=1, description="of the scores of held-out healthy images")
    pixel_quantile: float = Field(default=0.99, gt=0, lt=1, description="of their map values")
    command: str = Field(default="", description="as it was typed, for the record")

    @model_validator(mode="after")
    def _once(self) -> EvaluationRequest:
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("a method is named twice")
        if len(set(self.shots)) < len(self.shots):
            raise ValueError("a number of shots is named twice")
        if not self.shots and not self.all_shots:
            raise ValueError("no number of shots is named")
        if any(count < 0 for count in self.shots):
            raise ValueError("the number of shots is negative")
        if 0 in self.shots and (len(self.shots) > 1 or self.all_shots):
            raise ValueError("0 shots stands alone: nothing is then kept from the test")
        return self


@dataclass(frozen=True)
class Draw:
    """One draw of the shots.

    Args:
        number: from 0.
        shots: as many as the largest number asked for; each smaller number takes the first of them.
        calibration: healthy images that only set thresholds, where no shots were asked for.
        tested: images to test on, none of them and none of their patients among the shots.
    """

    number: int
    shots: tuple[EvaluationCase, ...]
    tested: tuple[EvaluationCase, ...]
    calibration: tuple[EvaluationCase, ...] = ()

    def learnt(self, shots: int) -> tuple[EvaluationCase, ...]:
        """The healthy images that a method given this many shots knows."""
        return self.shots[:shots] if shots else self.calibration


def with_all_counted(
    evaluation_set: EvaluationSet, request: EvaluationRequest, unreadable: Set[EvaluationCase]
) -> EvaluationRequest:
    """The request with the number that `all_shots` stands for among its shots.

    Raises:
        ConfigError: all are asked for and there is no healthy set, or all of its patients are tested.
    """
    if not request.all_shots:
        return request
    healthy = _without(evaluation_set.healthy, unreadable)
    count = len(healthy_apart(replace(evaluation_set, healthy=healthy)))
    if not count:
        besides = " whose patients are not tested" if healthy else ""
        raise ConfigError(
            f"{evaluation_set.name} has no healthy set{besides}; 'all' shots are all of its images.",
            "Give --healthy, or a number of shots to draw from the normal images.",
        )
    return request.model_copy(update={"shots": (*(shots for shots in request.shots if shots != count), count)})


def seeds_of(draws: Sequence[Draw], shots: int, seed: int) -> Mapping[int, int]:
    """Seed of a method's own randomness by number of draw.

    It is the evaluation's own, so that draws differ by their images alone; where all draws hold the same images, each
    draw adds its number, since the draws would else repeat each other.
    """
    sets = [frozenset(draw.learnt(shots)) for draw in draws]
    same = all(one == sets[0] for one in sets)
    return {draw.number: (seed + draw.number) % SEEDS if same else seed for draw in draws}


def plan_draws(
    evaluation_set: EvaluationSet, request: EvaluationRequest, unreadable: Set[EvaluationCase]
) -> tuple[Draw, ...]:
    """The draws of the shots, and what each leaves to test on.

    What is tested is the same for every number of shots of a draw, so that curves over shots compare like with like.

    Args:
        evaluation_set: where from.
        request: how many shots and draws; see `with_all_counted`.
        unreadable: images that are neither drawn nor tested.

    Raises:
        ConfigError: fewer healthy images than shots, or nothing left to test.
    """
    readable = replace(
        evaluation_set,
        cases=_without(evaluation_set.cases, unreadable),
        healthy=_without(evaluation_set.healthy, unreadable),
    )
    if max(request.shots) > 0:
        drawn = draw_shots(readable, request.shots, request.draws, request.seed)
        return tuple(Draw(one.draw, one.shots, one.test) for one in drawn)
    patients = {case.patient for case in readable.cases if case.patient is not None}
    apart = sum(case.patient not in patients for case in readable.healthy)
    if not apart:
        return (Draw(0, (), readable.cases),)
    (drawn_once,) = draw_shots(readable, (min(apart, CALIBRATION_IMAGES),), 1, request.seed)
    return (Draw(0, (), drawn_once.test, drawn_once.shots),)


def rules_of(request: EvaluationRequest, evaluation_set: EvaluationSet) -> tuple[str, ...]:
    """The rules of the evaluation in sentences."""
    if max(request.shots) == 0:
        shots = ["No shots were drawn; healthy images, where there are any, set thresholds alone."]
    else:
        source = "the healthy set" if evaluation_set.healthy else "the normal images, and the drawn ones leave the test"
        shots = [
            f"Shots are drawn {request.draws} times from {source}; a smaller number of shots is the beginning of a "
            "larger one. Shots and test images have no patient in common, where patients are known. What is tested is "
            "the same for all numbers of shots.",
        ]
        if request.all_shots:
            shots.append(
                f"All {max(request.shots):,} images of the healthy set are learned from, those of tested patients left "
                "out. The draws then hold the same images in another order, and what a method does at random is seeded "
                "with the evaluation's seed plus the number of the draw, from 0."
            )
        if max(request.shots) > MOST_CALIBRATION_IMAGES:
            shots.append(
                f"Methods that do not learn from shots take the first {MOST_CALIBRATION_IMAGES} at most for their "
                "thresholds."
            )
    return (
        *shots,
        f"Thresholds: quantile {request.image_quantile:g} of the scores and quantile {request.pixel_quantile:g} "
        "of the map values of healthy images that the method did not learn from, linearly interpolated. A method that "
        f"learns from shots is built anew without those that it judges (one by one, or in {MAXIMUM_FOLDS} groups). "
        "Few-shot localization and reconstruction set their thresholds themselves while they learn, by their config's "
        "false-positive rate and pixel quantile, on shots that were each judged by what did not learn from them.",
        GRID_RULE,
        EMPTY_MASK_RULE,
    )


def _without(cases: Sequence[EvaluationCase], unreadable: Set[EvaluationCase]) -> tuple[EvaluationCase, ...]:
    return tuple(case for case in cases if case not in unreadable)
