"""Which images the report shows: by a rule fixed beforehand, so that nobody can pick the prettiest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anomalabel.evaluation.report.content import ImageScore

EXAMPLE_RULE = (
    "Of each class the images with the lowest, the lower quartile, the median, the upper quartile and the highest "
    "image score, in the first draw of the largest number of shots; images of equal score in the order of their names. "
    "The rule was fixed before the scores were known."
)
RANKS: tuple[tuple[str, float], ...] = (
    ("lowest", 0.0),
    ("lower quartile", 0.25),
    ("median", 0.5),
    ("upper quartile", 0.75),
    ("highest", 1.0),
)


@dataclass(frozen=True)
class ChosenExample:
    """An image to show: its identity and why, such as "highest score of the abnormal images"."""

    identity: str
    position: str


def choose_examples(scores: Sequence[ImageScore]) -> tuple[ChosenExample, ...]:
    """Images for the picture grid by `EXAMPLE_RULE`: abnormal ones first, each from the lowest score up.

    Args:
        scores: of all test images of one draw.

    Returns:
        up to five of each class; an image that fills two ranks appears once, for the first.
    """
    chosen: dict[str, ChosenExample] = {}
    for abnormal, word in ((True, "abnormal"), (False, "normal")):
        ordered = sorted(
            (score for score in scores if score.abnormal == abnormal), key=lambda score: (score.score, score.identity)
        )
        for rank, quantile in RANKS if ordered else ():
            identity = ordered[int(quantile * (len(ordered) - 1) + 0.5)].identity
            chosen.setdefault(identity, ChosenExample(identity, f"{rank} score of the {word} images"))
    return tuple(chosen.values())
