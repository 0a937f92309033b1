"""What is evaluated: images with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalabel.volume import FloatArray


@dataclass(frozen=True)
class EvaluationCase:
    """One image.

    Args:
        identity: unique in its set and stable between runs: the path relative to the folder it was listed from.
        image: any file `read_volume` reads.
        abnormal: whether the image holds disease.
        mask: file with the disease's pixels (larger than 0 = disease), None where there is none.
        boxes: YOLO text file, lines `class cx cy w h` relative to the image, None where there is none.
        patient: who was imaged, None where nobody knows; the unit of bootstrap and of shots apart from tests.
    """

    identity: str
    image: Path
    abnormal: bool
    mask: Path | None = None
    boxes: Path | None = None
    patient: str | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """Images to test on and healthy images to draw shots from.

    Args:
        name: shown in reports.
        cases: normal and abnormal, unique identities.
        healthy: where shots are drawn from; empty where the normal cases serve, which then leave the test.
    """

    name: str
    cases: tuple[EvaluationCase, ...]
    healthy: tuple[EvaluationCase, ...] = ()


@dataclass(frozen=True)
class Box:
    """A rectangle in array indices, both ends inclusive, with the score of a predicted one (1 for a true one)."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    score: float = 1.0


@dataclass(frozen=True)
class CaseOutcome:
    """What a method said about one case, and what is true of it, on one grid.

    Args:
        image_score: larger = more anomalous; any finite number, the same scale for all cases of a method.
        anomaly_map: (Z, Y, X) or (Y, X) float32, NaN where nothing was seen.
        lesion: bool of the same shape, all False for a healthy case; None where the disease's pixels are unknown
            (an abnormal case without a mask).
        true_boxes: of a mask's connected parts or of the box file; None where the place is unknown.
        found: the method's findings, boxes in the map's indices with their scores.
    """

    case: EvaluationCase
    image_score: float
    anomaly_map: FloatArray
    lesion: NDArray[np.bool_] | None
    true_boxes: tuple[Box, ...] | None
    found: tuple[Box, ...]


@dataclass(frozen=True)
class Thresholds:
    """Chosen on healthy images that the method did not learn from, before any test image was seen.

    Args:
        image: score from which an image is called abnormal.
        pixel: map value from which a pixel is called abnormal.
        rule: in words, with the quantile and the number of healthy images.
    """

    image: float
    pixel: float
    rule: str


@dataclass(frozen=True)
class Estimate:
    """A metric over draws of the shots and over patients.

    Args:
        mean: over draws; None where it is not defined (AUROC of one class).
        std: over draws (ddof 1), None with fewer than two.
        ci95: 2.5 and 97.5 percentile of a bootstrap over patients (images where no patient is known), all draws of a
            resample averaged; None where not defined.
        draws: one value per draw, None where not defined.
    """

    mean: float | None
    std: float | None
    ci95: tuple[float, float] | None
    draws: tuple[float | None, ...]
