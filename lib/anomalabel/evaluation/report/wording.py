"""Results as sentences: what the method does and what a reader must know before believing a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from anomalabel.evaluation.report.content import DrawResult, MethodResult, ReportContent, ShotResult
from anomalabel.evaluation.report.glossary import ORACLE_PREFIX, metric_named

FEW_IMAGES = 50
"""Below this many images of a class, one image more or less moves a rate by over 2 points."""

WIDE_INTERVAL = 0.2
GUESSING = 0.5
SHOWN_NAMES = 5
HEADLINES = ("image_auroc", "pixel_auroc", "pixel_dice")
"""Metrics in which another method's better number is said at the head of the report."""


def main_result(content: ReportContent) -> tuple[MethodResult, ShotResult]:
    """What the summary, the score histograms and the examples are about: the first method, its most shots."""
    method = content.methods[0]
    return method, method.shots[-1]


def called_abnormal(draw: DrawResult, abnormal: bool) -> int | None:
    """How many images of one class reach the image threshold of a draw; None without a threshold."""
    if not math.isfinite(draw.thresholds.image):
        return None
    return sum(score.score >= draw.thresholds.image for score in draw.scores if score.abnormal == abnormal)


def tested(draw: DrawResult, abnormal: bool) -> int:
    """How many images of one class a draw was tested on."""
    return sum(score.abnormal == abnormal for score in draw.scores)


def summary_sentence(content: ReportContent) -> str:
    """The result in words: of the sick images so many are called abnormal, and of the healthy ones so many."""
    method, shot = main_result(content)
    subject = f"{method.name}, after seeing {counted(shot.shots, 'healthy image')}," if shot.shots else method.name
    sick, healthy = _tested(shot, True), _tested(shot, False)
    if sick == "0" and healthy == "0":
        return "No image was tested, so nothing can be said about the method."
    found, alarms = _called(shot, True), _called(shot, False)
    if not found or not alarms:
        return (
            f"There is no image threshold, so {method.name} ranks {sick} sick and {healthy} healthy images but calls "
            "none of them abnormal or normal."
        )
    if healthy == "0":
        called = f"calls {_mean(found)} abnormal{_spread(found)}"
        return f"Of {sick} sick images {subject} {called}. No healthy image was tested."
    if sick == "0":
        called = f"calls {_mean(alarms)} abnormal{_spread(alarms)}"
        return f"Of {healthy} healthy images {subject} {called}. No sick image was tested."
    return (
        f"Of {sick} sick images {subject} calls {_mean(found)} abnormal, and of {healthy} healthy ones {_mean(alarms)}"
        f"{_spread(found, alarms)}."
    )


def warnings(content: ReportContent) -> tuple[str, ...]:
    """What limits the numbers of this report, most serious first."""
    return (
        *_about_the_result(content),
        *_about_the_images(content),
        *_about_duplicates(content),
        *_about_patients(content),
        *_about_oracles(content),
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun in the right form, such as "1 image" or "1,200 images"."""
    ending = "" if number == 1 else "es" if noun.endswith("x") else "s"
    return f"{number:,} {noun}{ending}"


def names(identities: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(identities) - SHOWN_NAMES
    return ", ".join(identities[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _tested(shot: ShotResult, abnormal: bool) -> str:
    return _span(tested(draw, abnormal) for draw in shot.draws)


def _called(shot: ShotResult, abnormal: bool) -> list[int]:
    """Images of one class called abnormal in each draw that has a threshold."""
    return [called for draw in shot.draws if (called := called_abnormal(draw, abnormal)) is not None]


def _mean(numbers: Sequence[int]) -> str:
    return f"{sum(numbers) / len(numbers):,.1f}".removesuffix(".0")


def _spread(*classes: Sequence[int]) -> str:
    """How far the draws lie apart, in parentheses; nothing for a single draw."""
    draws = len(classes[0])
    if draws < 2:
        return ""
    return f" (mean of {draws} draws; single draws: {' and '.join(_span(numbers) for numbers in classes)})"


def _span(numbers: Iterable[int]) -> str:
    values = sorted(numbers)
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} to {values[-1]:,}"


def _about_the_result(content: ReportContent) -> list[str]:
    method, shot = main_result(content)
    found = []
    estimate = shot.estimates.get("image_auroc")
    if estimate is not None and estimate.ci95 is not None:
        low, high = estimate.ci95
        if low <= GUESSING:
            found.append(
                f"The 95 % interval of the image AUROC of {method.name}, {low:.3f} to {high:.3f}, reaches down to 0.5: "
                "on these images it is not shown to be better than guessing."
            )
        elif high - low > WIDE_INTERVAL:
            found.append(
                f"The 95 % interval of the image AUROC of {method.name} is wide, {low:.3f} to {high:.3f}: "
                "the images are too few for a firm statement."
            )
    found += _about_better_methods(content)
    if shot.shots and len(shot.draws) == 1:
        found.append("There is one draw of the shots: how much luck with the shots changes the numbers is unknown.")
    if content.failed:
        identities = [failed.identity for failed in content.failed]
        found.append(
            f"{counted(len(identities), 'image')} could not be evaluated and {'is' if len(identities) == 1 else 'are'} "
            f"missing from every number: {names(identities)}."
        )
    return found


def _about_better_methods(content: ReportContent) -> list[str]:
    """Where a method that the head of the report does not show has the better number."""
    method, shot = main_result(content)
    found = []
    for key in HEADLINES:
        ours = shot.estimates.get(key)
        for other in content.methods[1:]:
            theirs = other.shots[-1].estimates.get(key)
            if ours and theirs and ours.mean is not None and theirs.mean is not None and theirs.mean > ours.mean:
                metric = metric_named(key)
                found.append(
                    f"{other.name} has the better {metric.label if metric else key}: {theirs.mean:.3f} against "
                    f"{ours.mean:.3f} of {method.name}."
                )
    return found


def _about_the_images(content: ReportContent) -> list[str]:
    facts = content.facts
    found = []
    for number, word in ((facts.abnormal, "sick"), (facts.normal, "healthy")):
        if number == 0:
            found.append(f"The test holds no {word} image: what needs both classes is not defined.")
        elif number < FEW_IMAGES:
            found.append(
                f"The test holds only {counted(number, f'{word} image')}: "
                f"each one moves a rate by {100 / number:.1f} points."
            )
    if facts.abnormal and facts.with_masks < facts.abnormal:
        found.append(
            f"{facts.with_masks} of {counted(facts.abnormal, 'sick image')} have a mask of the disease; "
            + ("the pixel metrics are of these alone." if facts.with_masks else "there are no pixel metrics.")
        )
    return found


def _about_duplicates(content: ReportContent) -> list[str]:
    if not content.duplicates_checked:
        return ["Nobody looked for near-duplicates between shots and test images."]
    if not content.near_duplicates:
        return []
    pairs = counted(len(content.near_duplicates), "pair")
    return [
        f"{pairs} of a shot and a test image look the same (listed below): "
        "the method has seen these test images, and its numbers may be too good."
    ]


def _about_patients(content: ReportContent) -> list[str]:
    facts = content.facts
    if facts.patients is None:
        return [
            "No patient is known: several images of one patient count as independent, so the intervals may be too "
            "narrow, and a patient may be among both shots and test images."
        ]
    if facts.without_patient:
        return [f"The patient of {counted(facts.without_patient, 'test image')} is unknown; each counts as its own."]
    return []


def _about_oracles(content: ReportContent) -> list[str]:
    keys = {key for method in content.methods for shot in method.shots for key in shot.estimates}
    oracles = sorted(key for key in keys if key.startswith(ORACLE_PREFIX))
    if not oracles:
        return []
    labels = ", ".join(metric.label if (metric := metric_named(key)) else key for key in oracles)
    return [f"Oracle numbers ({labels}) were tuned on the test images; they are upper bounds and stand apart."]
