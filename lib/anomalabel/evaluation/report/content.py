"""What the report shows: plain frozen data, filled from the results of a run.

Drawing and writing take nothing else, so a report can be made again from stored results without any image file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.cases import Box, Estimate, Thresholds
from anomalabel.volume import FloatArray

FloatCurve = NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True)
class Curve:
    """Points of one curve, in the order they are joined.

    Args:
        x: (P,) false positive rate (ROC), recall (PR) or false positives per image (FROC).
        y: (P,) true positive rate, precision or sensitivity, 0 to 1.
    """

    x: FloatCurve
    y: FloatCurve


@dataclass(frozen=True)
class DrawCurves:
    """The curves of one draw; None where a curve is not defined (one class only, no masks, no boxes)."""

    roc: Curve | None = None
    pr: Curve | None = None
    froc: Curve | None = None
    pixel_roc: Curve | None = None
    pixel_pr: Curve | None = None


@dataclass(frozen=True)
class ImageScore:
    """The score of one image in one draw; larger = more anomalous."""

    identity: str
    abnormal: bool
    score: float


@dataclass(frozen=True)
class DrawResult:
    """What one draw of the shots led to.

    Args:
        name: shown where draws are listed, such as "seed 0".
        thresholds: chosen before any test image was seen; NaN where one could not be had.
        scores: one of each test image.
        curves: of this draw.
    """

    name: str
    thresholds: Thresholds
    scores: tuple[ImageScore, ...]
    curves: DrawCurves = field(default_factory=DrawCurves)


@dataclass(frozen=True)
class ShotResult:
    """All draws of one number of shots.

    Args:
        shots: healthy images the method learnt from; 0 for a method that needs none.
        estimates: metric name, as in metrics.json, to its estimate over the draws; names that begin with `oracle_`
            were tuned on the test images and are shown apart, labelled so.
        draws: at least one.
    """

    shots: int
    estimates: Mapping[str, Estimate]
    draws: tuple[DrawResult, ...]


@dataclass(frozen=True)
class MethodResult:
    """One method on the set.

    Args:
        name: "normal_bank", "clap", ...
        model: name of the encoder, "" where the method has none.
        weights_sha256: hash of its weights, "" where there are none.
        shots: increasing in `shots`, at least one.
        description: what else its answers hang on, "" where there is nothing to say.
    """

    name: str
    model: str
    weights_sha256: str
    shots: tuple[ShotResult, ...]
    description: str = ""


@dataclass(frozen=True)
class SetFacts:
    """What was evaluated on.

    Args:
        name: of the set.
        normal: healthy test images.
        abnormal: sick test images.
        with_masks: sick test images whose diseased pixels are known.
        with_boxes: sick test images whose diseased places are known, from boxes or from masks.
        patients: number of different patients among the test images, None where no patient is known.
        without_patient: test images whose patient is unknown.
    """

    name: str
    normal: int
    abnormal: int
    with_masks: int
    with_boxes: int
    patients: int | None
    without_patient: int = 0


@dataclass(frozen=True)
class Comparison:
    """One test of significance between two methods on the same images.

    Args:
        first: method name.
        second: method name.
        shots: number of shots of both, None where they differ.
        test: "DeLong", "Wilcoxon signed-rank", "paired t-test", ...
        compares: in words, what is compared, such as "image AUROC of draw seed 0" or "Dice of each image".
        difference: first minus second, in the unit of what is compared.
        p_value: two-sided, None where the test is not defined.
        count: pairs that entered the test (images, or draws).
        reason: why `p_value` is None, "" otherwise.
    """

    first: str
    second: str
    shots: int | None
    test: str
    compares: str
    difference: float | None
    p_value: float | None
    count: int
    reason: str = ""


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that look the same, one of them a shot and the other a test image."""

    shot: str
    test: str
    similarity: str


@dataclass(frozen=True)
class FailedImage:
    """An image that could not be evaluated, and why."""

    identity: str
    reason: str


@dataclass(frozen=True)
class ReportExample:
    """One row of the picture grid; see `choose_examples` for which images these are.

    Args:
        identity: of the case.
        abnormal: truth about the image.
        position: why it was chosen, as `choose_examples` says it: "highest score of the abnormal images".
        image: (H, W), 0 to 1.
        anomaly_map: (H, W), NaN where nothing was seen.
        lesion: (H, W) bool, None where the disease's pixels are unknown.
        true_boxes: in (row, column) indices, None where the place is unknown.
        found: the method's boxes in (row, column) indices.
        image_score: of this draw.
        called_abnormal: whether the score reaches the image threshold, None where there is no threshold.
        pixel_threshold: map value from which a pixel is called abnormal, drawn as a line; NaN where there is none.
    """

    identity: str
    abnormal: bool
    position: str
    image: FloatArray
    anomaly_map: FloatArray
    lesion: NDArray[np.bool_] | None
    true_boxes: tuple[Box, ...] | None
    found: tuple[Box, ...]
    image_score: float
    called_abnormal: bool | None
    pixel_threshold: float


@dataclass(frozen=True)
class ReportContent:
    """Everything the report says.

    Args:
        title: heading of the page.
        date: ISO date of the run.
        version: of AnomaLabel.
        facts: what was evaluated on.
        methods: at least one; the first is the one that the summary sentence and the examples are about.
        protocol: sentences on how shots, thresholds and tests were chosen.
        settings: name to value, shown as a table (config, prompts, seeds, device, command).
        comparisons: between methods.
        near_duplicates: between shots and test images.
        duplicates_checked: False where nobody looked for near-duplicates.
        failed: images that could not be evaluated.
        examples: rows of the picture grid, of the first draw of the largest number of shots of the first method.
    """

    title: str
    date: str
    version: str
    facts: SetFacts
    methods: tuple[MethodResult, ...]
    protocol: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] = ()
    duplicates_checked: bool = True
    failed: tuple[FailedImage, ...] = ()
    examples: tuple[ReportExample, ...] = ()
