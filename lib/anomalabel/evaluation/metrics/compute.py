"""All metrics of a set of cases by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalabel.evaluation.cases import Thresholds
from anomalabel.evaluation.metrics.finding_level import FindingMetrics
from anomalabel.evaluation.metrics.image_level import ImageMetrics
from anomalabel.evaluation.metrics.pixel_level import PixelMetrics
from anomalabel.evaluation.metrics.pointing import mean_pointing
from anomalabel.evaluation.metrics.ranking import Numbers
from anomalabel.evaluation.metrics.summary import CaseSummary

RANKED_METRICS = frozenset(
    {"image_auroc", "image_auprc", "image_fpr_at_95_tpr", "pixel_auroc", "pixel_auprc", "pixel_aupro"}
)
"""Metrics of images and pixels that need no threshold."""


@dataclass(frozen=True)
class CaseCounts:
    """How many cases each group of metrics rests on.

    Args:
        images: all.
        abnormal: of these, with disease.
        patients: distinct ones; an image whose patient is unknown counts as its own.
        pixels_known: in the pixel metrics (healthy ones too).
        pixels_unknown: left out of them: abnormal without a mask.
        place_known: in the finding metrics (healthy ones too).
        place_unknown: left out of them: abnormal without mask or boxes.
    """

    images: int
    abnormal: int
    patients: int
    pixels_known: int
    pixels_unknown: int
    place_known: int
    place_unknown: int


class MetricSuite:
    """Every metric of a set of cases, over and over for different weights of the cases.

    Args:
        summaries: one per case.
        thresholds: its `image` cuts the scores; the pixel threshold has done its work in `summarise`. Where one is not
            finite there is none, and what it would cut is not defined.
        resolution: None ranks all pixel values that were kept; a number pools them further, for resampling.
    """

    def __init__(self, summaries: Sequence[CaseSummary], thresholds: Thresholds, resolution: int | None = None) -> None:
        abnormal = [case.abnormal for case in summaries]
        self._images = ImageMetrics(abnormal, [case.image_score for case in summaries], thresholds.image)
        self._pixels = PixelMetrics([case.pixels for case in summaries], resolution)
        self._findings = FindingMetrics([case.findings for case in summaries])
        self._pointing = [case.pointing for case in summaries]
        self._thresholds = thresholds

    def evaluate(self, weights: Numbers) -> dict[str, Numbers]:
        """Metrics by name, (resamples,) each, NaN where not defined; weights (resamples, cases)."""
        values = {
            **self._images.evaluate(weights),
            **self._pixels.evaluate(weights),
            **self._findings.evaluate(weights),
            **mean_pointing(self._pointing, weights),
        }
        return {name: value if self._is_cut(name) else np.full_like(value, np.nan) for name, value in values.items()}

    def _is_cut(self, name: str) -> bool:
        """Whether there is the threshold that a metric needs."""
        image_known, pixel_known = np.isfinite([self._thresholds.image, self._thresholds.pixel])
        return (image_known or not needs_image_threshold(name)) and (pixel_known or not needs_pixel_threshold(name))


def needs_image_threshold(name: str) -> bool:
    """Whether a metric is defined only where there is an image threshold."""
    return name.startswith("image_") and name not in RANKED_METRICS


def needs_pixel_threshold(name: str) -> bool:
    """Whether a metric is defined only where there is a pixel threshold; findings are cut at it too."""
    return name.startswith(("pixel_", "finding_")) and name not in RANKED_METRICS


def compute_metrics(summaries: Sequence[CaseSummary], thresholds: Thresholds) -> dict[str, float | None]:
    """Every metric of one draw by name; None where it is not defined (one class only, no mask, no box).

    Args:
        summaries: one per case, made with the same thresholds.
        thresholds: its `image` cuts the scores.
    """
    values = MetricSuite(summaries, thresholds).evaluate(np.ones((1, len(summaries))))
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in values.items()}


def count_cases(summaries: Sequence[CaseSummary]) -> CaseCounts:
    """How many cases there are, and how many of them the pixel and finding metrics had to leave out."""
    pixels_known = sum(case.pixels is not None for case in summaries)
    place_known = sum(case.findings is not None for case in summaries)
    return CaseCounts(
        images=len(summaries),
        abnormal=sum(case.abnormal for case in summaries),
        patients=len({resampling_unit(case) for case in summaries}),
        pixels_known=pixels_known,
        pixels_unknown=len(summaries) - pixels_known,
        place_known=place_known,
        place_unknown=len(summaries) - place_known,
    )


def resampling_unit(case: CaseSummary) -> tuple[str, str]:
    """What is drawn as a whole in a bootstrap: the patient, or the image where no patient is known."""
    return ("image", case.identity) if case.patient is None else ("patient", case.patient)
