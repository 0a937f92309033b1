"""metrics.json is plain and finite, and says null where a threshold is missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from anomalabel.evaluation.cases import Thresholds
from anomalabel.evaluation.metrics import CaseSummary
from anomalabel.evaluation.report.content import FailedImage, MethodResult
from anomalabel.evaluation.results import (
    comparison_of,
    estimates_of,
    metrics_document,
    plain,
    shot_result,
    write_metrics,
)
from anomalabel.evaluation.significance import PairedTest

NAN = math.nan
CUT, NO_CUT = Thresholds(0.5, 0.5, "rule"), Thresholds(NAN, NAN, "none")


def summaries(*scores: float) -> list[CaseSummary]:
    """Cases that are abnormal from the third on, without masks."""
    return [
        CaseSummary(f"{number}.png", None, number >= 2, score, None, None, None) for number, score in enumerate(scores)
    ]


def test_draws_without_a_threshold_count_where_none_is_needed():
    draws = [summaries(0.1, 0.2, 0.6, 0.7), summaries(0.6, 0.2, 0.7, 0.4), summaries(0.9, 0.2, 0.3, 0.4)]
    found = estimates_of(draws, [CUT, CUT, NO_CUT], resamples=0, seed=0)
    assert found["image_auroc"].draws == (1.0, 0.75, 0.5)
    assert found["image_accuracy"].draws == (1.0, 0.5, None)
    assert found["image_accuracy"].mean == 0.75
    assert found["image_accuracy"].std == pytest.approx(np.std([1, 0.5], ddof=1))
    nothing = estimates_of(draws, [NO_CUT] * 3, resamples=0, seed=0)
    assert nothing["image_f1"].mean is None
    assert nothing["image_f1"].draws == (None, None, None)
    assert nothing["image_auroc"].mean == 0.75


def test_a_probability_cuts_images_and_not_pixels():
    only_images = Thresholds(0.5, NAN, "probability")
    found = estimates_of([summaries(0.1, 0.2, 0.6, 0.7)], [only_images], resamples=0, seed=0)
    assert found["image_accuracy"].mean == 1.0
    assert found["pixel_dice"].mean is None


def test_the_document_is_finite_and_holds_all_methods(tmp_path):
    draws = [summaries(0.1, 0.2, 0.6, 0.7)] * 2
    shots = [shot_result(count, draws, [CUT, NO_CUT], 0, 0) for count in (4, 8)]
    methods = [MethodResult(name, "model", "hash", tuple(shots)) for name in ("a", "b")]
    test = PairedTest("DeLong", "image_auroc", "image", 1, 4, 0.75, 0.5, 1.0, None, "no variance")
    comparison = comparison_of("a", "b", 8, test)
    document = metrics_document(
        methods, [comparison], [FailedImage("x.png", "broken")], {"value": np.float32(2), "none": NAN}
    )
    path = tmp_path / "metrics.json"
    write_metrics(document, path)
    back = json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(constant))
    assert back == document
    assert back["image_auroc"] == {"mean": 1.0, "std": 0.0, "ci95": None, "draws": [1.0, 1.0]}
    assert set(back["by_shots"]) == {"4", "8"}
    assert back["methods"]["b"]["by_shots"]["8"]["image_auroc"] == back["image_auroc"]
    assert back["methods"]["b"]["model"] == {"name": "model", "weights_sha256": "hash"}
    assert back["failed"] == [{"identity": "x.png", "reason": "broken"}]
    assert back["protocol"] == {"value": 2.0, "none": None}
    (told,) = back["comparisons"]
    assert (told["difference"], told["p_value"], told["count"]) == (0.25, None, 4)
    assert told["compares"] == "image_auroc of draw 2, paired by image"


def test_plain_values():
    assert plain({1: (np.int64(3), float("inf"), np.bool_(True), "x", None)}) == {"1": [3, None, True, "x", None]}


def test_a_shot_result_keeps_what_the_report_draws():
    result = shot_result(4, [summaries(0.1, 0.2, 0.6, 0.7)], [NO_CUT], 0, 0)
    (draw,) = result.draws
    assert draw.name == "draw 1"
    assert [(score.identity, score.abnormal, score.score) for score in draw.scores][2] == ("2.png", True, 0.6)
    assert draw.curves.roc.y[-1] == 1.0
    assert draw.curves.froc is None
    assert draw.curves.pixel_roc is None
