"""What each metric is called, means and needs: one sentence each, for readers who are no statisticians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["image", "pixel", "finding"]
Need = Literal["classes", "sick", "healthy", "masks", "masked_sick", "places", "sick_places"]
Cut = Literal["image", "pixel"]
Unit = Literal["share", "correlation", "pixels", "count"]

ORACLE_PREFIX = "oracle_"


@dataclass(frozen=True)
class Metric:
    """One metric of metrics.json.

    Args:
        key: its name in metrics.json.
        label: its name in tables.
        level: which table it stands in.
        explanation: one sentence.
        needs: without which images it is not defined.
        unit: "share" is 0 to 1, "correlation" -1 to 1.
        lower_is_better: True for errors and distances, None where neither end is good.
        cut: the threshold it is computed at, None where it needs none.
    """

    key: str
    label: str
    level: Level
    explanation: str
    needs: Need
    unit: Unit = "share"
    lower_is_better: bool | None = False
    cut: Cut | None = None


_IMAGE_CUT = "at the image threshold"
_PIXEL_CUT = "at the pixel threshold"

METRICS: tuple[Metric, ...] = (
    Metric(
        "image_auroc",
        "AUROC",
        "image",
        "The chance that a sick image scores above a healthy one; 0.5 is guessing, 1 is perfect.",
        "classes",
    ),
    Metric(
        "image_auprc",
        "AUPRC",
        "image",
        "Average precision over all thresholds; guessing gives the share of sick images.",
        "classes",
    ),
    Metric(
        "image_accuracy", "Accuracy", "image", f"Share of images called right {_IMAGE_CUT}.", "classes", cut="image"
    ),
    Metric(
        "image_precision",
        "Precision",
        "image",
        f"Share of the images called abnormal {_IMAGE_CUT} that are sick.",
        "classes",
        cut="image",
    ),
    Metric(
        "image_recall",
        "Recall (sensitivity)",
        "image",
        f"Share of the sick images that are called abnormal {_IMAGE_CUT}.",
        "sick",
        cut="image",
    ),
    Metric("image_f1", "F1", "image", f"Harmonic mean of precision and recall {_IMAGE_CUT}.", "classes", cut="image"),
    Metric(
        "image_specificity",
        "Specificity",
        "image",
        f"Share of the healthy images that are called normal {_IMAGE_CUT}.",
        "healthy",
        cut="image",
    ),
    Metric(
        "image_balanced_accuracy",
        "Balanced accuracy",
        "image",
        "Mean of recall and specificity; 0.5 is guessing.",
        "classes",
        cut="image",
    ),
    Metric(
        "image_mcc",
        "MCC",
        "image",
        "Matthews correlation between what is called and what is true; 0 is guessing, 1 is perfect.",
        "classes",
        "correlation",
        cut="image",
    ),
    Metric(
        "image_fpr_at_0.5",
        "False positive rate at 0.5",
        "image",
        "Share of the healthy images called abnormal; 0.5 of the calibrated score is the image threshold.",
        "healthy",
        lower_is_better=True,
        cut="image",
    ),
    Metric(
        "image_tpr_at_0.5",
        "True positive rate at 0.5",
        "image",
        "Share of the sick images called abnormal; 0.5 of the calibrated score is the image threshold.",
        "sick",
        cut="image",
    ),
    Metric(
        "image_fpr_at_95_tpr",
        "False positive rate at 95 % sensitivity",
        "image",
        "Share of the healthy images called abnormal if the threshold were so low that 95 % of the sick are found.",
        "classes",
        lower_is_better=True,
    ),
    Metric(
        "pixel_auroc",
        "AUROC",
        "pixel",
        "The chance that a diseased pixel has a larger map value than a healthy one; 0.5 is guessing.",
        "masks",
    ),
    Metric(
        "pixel_auprc",
        "AUPRC",
        "pixel",
        "Average precision over all thresholds of the map; guessing gives the share of diseased pixels.",
        "masks",
    ),
    Metric(
        "pixel_aupro",
        "AUPRO",
        "pixel",
        "Mean overlap with each diseased region over thresholds up to a false positive rate of 30 %, scaled to 0 to 1; "
        "a small region counts as much as a large one.",
        "masks",
    ),
    Metric("pixel_accuracy", "Accuracy", "pixel", f"Share of pixels called right {_PIXEL_CUT}.", "masks", cut="pixel"),
    Metric(
        "pixel_precision",
        "Precision",
        "pixel",
        f"Share of the pixels called abnormal {_PIXEL_CUT} that are diseased.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_recall",
        "Recall",
        "pixel",
        f"Share of the diseased pixels that are called abnormal {_PIXEL_CUT}.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_specificity",
        "Specificity",
        "pixel",
        f"Share of the healthy pixels that are called normal {_PIXEL_CUT}.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_f1",
        "F1",
        "pixel",
        "Harmonic mean of precision and recall over the pixels of all images; the same number as Dice.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_iou",
        "IoU",
        "pixel",
        "Overlap of called and diseased pixels divided by their union, over the pixels of all images.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_dice",
        "Dice",
        "pixel",
        "Twice the overlap of called and diseased pixels divided by the sum of both, over the pixels of all images.",
        "masks",
        cut="pixel",
    ),
    Metric(
        "pixel_dice_per_image",
        "Dice, mean of the images",
        "pixel",
        "Dice of each image that has a lesion, then the mean of them.",
        "masked_sick",
        cut="pixel",
    ),
    Metric(
        "pixel_tp", "True positive pixels", "pixel", "Diseased pixels called abnormal.", "masks", "count", None, "pixel"
    ),
    Metric(
        "pixel_tn", "True negative pixels", "pixel", "Healthy pixels called normal.", "masks", "count", None, "pixel"
    ),
    Metric(
        "pixel_fp", "False positive pixels", "pixel", "Healthy pixels called abnormal.", "masks", "count", True, "pixel"
    ),
    Metric(
        "pixel_fn", "False negative pixels", "pixel", "Diseased pixels called normal.", "masks", "count", True, "pixel"
    ),
    Metric(
        "pixel_hausdorff",
        "Hausdorff distance (pixels)",
        "pixel",
        "Largest distance between the outlines of what is called and what is diseased, mean of the images; where "
        "nothing is called it is the image's diagonal.",
        "masked_sick",
        "pixels",
        True,
        "pixel",
    ),
    Metric(
        "pixel_hd95",
        "Hausdorff distance, 95 % (pixels)",
        "pixel",
        "The same without the farthest 5 % of either outline, which a single stray pixel can decide.",
        "masked_sick",
        "pixels",
        True,
        "pixel",
    ),
    Metric(
        "pixel_boundary_f1",
        "Boundary F1",
        "pixel",
        "Harmonic mean of the shares of either outline that lie within 2 pixels of the other, mean of the images.",
        "masked_sick",
        cut="pixel",
    ),
    *(
        Metric(
            f"finding_sensitivity_at_{rate}_fp",
            f"Sensitivity at {rate} FP per image",
            "finding",
            f"Share of the diseased places that a box overlaps (IoU 0.1 or more) when there are {rate} false boxes per "
            "image.",
            "places",
        )
        for rate in ("0.5", "1", "2")
    ),
    *(
        Metric(
            f"finding_ap_at_{overlap}",
            f"AP at IoU {overlap}",
            "finding",
            f"Average precision of the boxes; a box is right if its IoU with a true one is {overlap} or more.",
            "places",
        )
        for overlap in ("0.1", "0.3", "0.5")
    ),
    Metric(
        "pointing_accuracy",
        "Pointing accuracy",
        "finding",
        "Share of the sick images in which the largest map value lies in the disease.",
        "sick_places",
    ),
    Metric(
        "pointing_chance",
        "Pointing accuracy of chance",
        "finding",
        "The disease's mean share of the pixels looked at: what a blind guess would reach.",
        "sick_places",
        lower_is_better=None,
    ),
)

BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}

HEADLINE_KEYS = (
    "image_auroc",
    "image_auprc",
    "pixel_auroc",
    "pixel_aupro",
    "pixel_dice",
    "finding_sensitivity_at_1_fp",
)
"""Shown where methods or numbers of shots are compared."""

TERMS: tuple[tuple[str, str], ...] = (
    ("Shot (K)", "One healthy image that the method learns normal from; K is their number."),
    ("Draw", "One random choice of the K shots; what is shown as mean and SD is over draws."),
    ("SD", "Standard deviation over the draws: how much luck with the shots changes the number."),
    (
        "95 % interval",
        "Bootstrap: patients (images where no patient is known) are drawn again with replacement, and 95 % of the "
        "repetitions lie inside; it says how much another sample of the same size could change the number.",
    ),
    (
        "p value",
        "How often a difference at least this large would appear if the two methods were equally good; "
        "small means chance is an unlikely cause.",
    ),
    ("Oracle", "A number tuned on the test images themselves: an upper bound, not a result."),
    ("ROC curve", "True positive rate against false positive rate over all thresholds."),
    ("PR curve", "Precision against recall over all thresholds."),
    (
        "FROC curve",
        "Share of the diseased places found against false boxes per image, over all thresholds.",
    ),
)


def metric_named(key: str) -> Metric | None:
    """The metric of a key, an oracle's key giving the metric it is an oracle of; None where it is not known."""
    return BY_KEY.get(key.removeprefix(ORACLE_PREFIX))
