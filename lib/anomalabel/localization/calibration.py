"""The thresholds of a trained model: what held-out healthy images say about scores and map values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalabel.finding import Threshold
from anomalabel.localization.conformal import ConformalThreshold, JudgedBy, PixelThreshold
from anomalabel.volume import FloatArray

IMAGE_THRESHOLD, PIXEL_THRESHOLD = "image", "pixel"
"""Keys of the thresholds in a model's description."""


@dataclass(frozen=True)
class Calibration:
    """What held-out healthy images say about scores.

    Args:
        image: a score above is abnormal.
        pixel: map values above belong to findings.
        scores: of the held-out healthy images.
    """

    image: Threshold
    pixel: Threshold
    scores: tuple[float, ...]

    @classmethod
    def of(
        cls,
        scores: Sequence[float],
        maps: Sequence[FloatArray],
        false_positive_rate: float,
        pixel_quantile: float,
        judged_by: JudgedBy,
    ) -> Calibration:
        """From held-out healthy images.

        Args:
            scores: of each.
            maps: of each, any shapes, NaN = unseen.
            false_positive_rate: wanted of the image threshold, inside (0, 1).
            pixel_quantile: of the map values, inside (0, 1).
            judged_by: who judges new images; see `ConformalThreshold`.

        Raises:
            ConfigError: fewer than two images.
            ModelError: a score is not finite.
        """
        image = ConformalThreshold.of(scores, false_positive_rate, judged_by)
        pixel = PixelThreshold.of(maps, pixel_quantile)
        return cls(
            Threshold(value=image.value, rule=image.rule), Threshold(value=pixel.value, rule=pixel.rule), tuple(scores)
        )

    @property
    def thresholds(self) -> dict[str, Threshold]:
        """As a model's description holds them."""
        return {IMAGE_THRESHOLD: self.image, PIXEL_THRESHOLD: self.pixel}

    @classmethod
    def from_thresholds(cls, thresholds: Mapping[str, Threshold], scores: Sequence[float]) -> Calibration:
        """Of a model's description and the scores kept beside it; KeyError where a threshold is missing."""
        return cls(thresholds[IMAGE_THRESHOLD], thresholds[PIXEL_THRESHOLD], tuple(scores))
