"""From finished runs to numbers: what the report shows and what metrics.json holds, plain finite JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anomalabel.evaluation.cases import Estimate, Thresholds
from anomalabel.evaluation.intervals import estimate
from anomalabel.evaluation.metrics import CaseSummary, compute_curves
from anomalabel.evaluation.metrics import Curve as MetricCurve
from anomalabel.evaluation.report.content import (
    Comparison,
    Curve,
    DrawCurves,
    DrawResult,
    FailedImage,
    ImageScore,
    MethodResult,
    ShotResult,
)
from anomalabel.evaluation.significance import PairedTest
from anomalabel.io.write import write_text

SCHEMA = "anomalabel.metrics/1"

CUT_BY_IMAGE_THRESHOLD = frozenset(
    f"image_{name}"
    for name in (
        "accuracy",
        "precision",
        "recall",
        "f1",
        "specificity",
        "balanced_accuracy",
        "mcc",
        "fpr_at_0.5",
        "tpr_at_0.5",
    )
)
RANKED_PIXEL_METRICS = frozenset({"pixel_auroc", "pixel_auprc", "pixel_aupro"})
"""Pixel metrics that need no threshold; all other ones do, and so do findings, which are cut at it."""


def shot_result(
    shots: int,
    draws: Sequence[Sequence[CaseSummary]],
    thresholds: Sequence[Thresholds],
    resamples: int,
    seed: int,
) -> ShotResult:
    """All metrics of one method at one number of shots.

    Args:
        draws: case summaries of each draw.
        thresholds: one per draw; a metric that needs one is taken over the draws that have it.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    return ShotResult(
        shots=shots,
        estimates=estimates_of(draws, thresholds, resamples, seed),
        draws=tuple(
            DrawResult(
                name=f"draw {number + 1}",
                thresholds=cuts,
                scores=tuple(ImageScore(case.identity, case.abnormal, case.image_score) for case in cases),
                curves=_curves(cases, math.isfinite(cuts.pixel)),
            )
            for number, (cases, cuts) in enumerate(zip(draws, thresholds, strict=True))
        ),
    )


def estimates_of(
    draws: Sequence[Sequence[CaseSummary]], thresholds: Sequence[Thresholds], resamples: int, seed: int
) -> dict[str, Estimate]:
    """Every metric over the draws in which it is defined: without a threshold nothing is known of what it would cut."""
    estimates = estimate(draws, thresholds, resamples, seed)
    for needs, cut in ((needs_image_threshold, "image"), (needs_pixel_threshold, "pixel")):
        defined = [number for number, cuts in enumerate(thresholds) if math.isfinite(getattr(cuts, cut))]
        if len(defined) == len(draws):
            continue
        chosen, cuts_of = [draws[number] for number in defined], [thresholds[number] for number in defined]
        partly = estimate(chosen, cuts_of, resamples, seed)
        for name in filter(needs, estimates):
            estimates[name] = _spread(partly.get(name), defined, len(draws))
    return estimates


def needs_image_threshold(name: str) -> bool:
    """Whether a metric is defined only where there is an image threshold."""
    return name in CUT_BY_IMAGE_THRESHOLD


def needs_pixel_threshold(name: str) -> bool:
    """Whether a metric is defined only where there is a pixel threshold; findings are cut at it too."""
    return name.startswith(("pixel_", "finding_")) and name not in RANKED_PIXEL_METRICS


def comparison_of(first: str, second: str, shots: int, test: PairedTest) -> Comparison:
    """A test of significance as the report shows it."""
    where = "" if test.draw is None else f" of draw {test.draw + 1}"
    known = test.first is not None and test.second is not None
    return Comparison(
        first=first,
        second=second,
        shots=shots,
        test=test.test,
        compares=f"{test.metric}{where}, paired by {test.unit}",
        difference=test.first - test.second if known else None,  # type: ignore[operator]
        p_value=test.p_value,
        count=test.n,
        reason=test.reason,
    )


def metrics_document(
    methods: Sequence[MethodResult],
    comparisons: Sequence[Comparison],
    failed: Sequence[FailedImage],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """What metrics.json holds.

    At the top the metrics of the first method at its largest number of shots, each {mean, std, ci95, draws}; then
    `by_shots` of the first method, `methods` by name (each with its own `by_shots`, its model and a description),
    `comparisons`, `failed` and `protocol`. What is not defined is null.
    """
    by_method = {method.name: _method(method) for method in methods}
    first = by_method[methods[0].name]
    document = {
        "schema": SCHEMA,
        **_largest(methods[0]),
        "by_shots": first["by_shots"],
        "methods": by_method,
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "failed": [asdict(image) for image in failed],
        "protocol": dict(protocol),
    }
    return plain(document)


def write_metrics(document: Mapping[str, Any], path: Path) -> None:
    """Write metrics.json, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value as JSON takes it: NaN and infinity are null, tuples lists, NumPy numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _method(method: MethodResult) -> dict[str, Any]:
    return {
        **_largest(method),
        "model": {"name": method.model, "weights_sha256": method.weights_sha256},
        "description": method.description,
        "by_shots": {str(shot.shots): _metrics(shot) for shot in method.shots},
    }


def _largest(method: MethodResult) -> dict[str, Any]:
    return _metrics(method.shots[-1])


def _metrics(shot: ShotResult) -> dict[str, Any]:
    return {name: asdict(value) for name, value in shot.estimates.items()}


def _spread(partly: Estimate | None, defined: Sequence[int], draws: int) -> Estimate:
    """An estimate over some of the draws, with None for the other ones."""
    values: list[float | None] = [None] * draws
    if partly is None:
        return Estimate(None, None, None, tuple(values))
    for number, value in zip(defined, partly.draws, strict=True):
        values[number] = value
    return Estimate(partly.mean, partly.std, partly.ci95, tuple(values))


def _curves(cases: Sequence[CaseSummary], has_findings: bool) -> DrawCurves:
    curves = compute_curves(cases)
    return DrawCurves(
        roc=_curve(curves.image_roc),
        pr=_curve(curves.image_pr),
        froc=_curve(curves.froc) if has_findings else None,
        pixel_roc=_curve(curves.pixel_roc),
        pixel_pr=_curve(curves.pixel_pr),
    )


def _curve(curve: MetricCurve | None) -> Curve | None:
    return None if curve is None else Curve(curve.x, curve.y)
