"""A whole evaluation: what it repeats, what it never looks at, and what it says when something is wrong."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.detectors.normal_bank import NormalBankDetector
from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.evaluate import evaluate
from anomalabel.evaluation.images import CaseLoader
from anomalabel.evaluation.protocol import EvaluationRequest
from anomalabel.evaluation.report.content import ReportContent
from anomalabel.evaluation.report.page import write_report
from anomalabel.localization.patch_features import FeatureStore

CONFIG = """
name: grey
title: Grey pictures
anatomy: nothing
modality: picture
prompts: {positive: [a disc], negative: [waves]}
preprocessing: {intensity: {kind: ct_window, center_hu: 128, width_hu: 256}, foreground: {enabled: false}}
findings: {minimum_area_mm2: 4}
"""


@pytest.fixture
def request_of(tmp_path):
    """A request of the grey config: 4 shots, 2 draws, no bootstrap, unless said otherwise."""
    path = tmp_path / "grey.yaml"
    path.write_text(CONFIG)

    def make(*methods: str, **changes) -> EvaluationRequest:
        values = {"shots": (4,), "draws": 2, "resamples": 0, **changes}
        return EvaluationRequest(config=str(path), methods=methods or ("intensity",), **values)

    return make


@pytest.fixture(autouse=True)
def reports(request, monkeypatch) -> list[ReportContent]:
    """What reports would show, in the order they were made; drawn only in tests marked so by their name."""
    contents: list[ReportContent] = []

    def keep(content: ReportContent, path: Path) -> None:
        contents.append(content)
        if "report" in request.node.name:
            write_report(content, path)

    monkeypatch.setattr("anomalabel.evaluation.evaluate.write_report", keep)
    return contents


@pytest.fixture
def looks(monkeypatch) -> Counter[tuple[str, str]]:
    """How often each method was asked for a detection, by method and image."""
    counted: Counter[tuple[str, str]] = Counter()
    loaded: list[str] = []
    load = CaseLoader.load

    def remember(self, case):
        loaded.append(case.identity)
        return load(self, case)

    for kind in (IntensityDetector, NormalBankDetector):

        def detect(self, *arguments, kind=kind, original=kind.detect):
            counted[kind.__name__, loaded[-1]] += 1
            return original(self, *arguments)

        monkeypatch.setattr(kind, "detect", detect)
    monkeypatch.setattr(CaseLoader, "load", remember)
    return counted


def metrics(out: Path) -> dict:
    """metrics.json, refusing NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in metrics.json")

    return json.loads((out / "metrics.json").read_text(), parse_constant=refuse)


def without_time(document: dict) -> dict:
    return {**document, "protocol": {**document["protocol"], "date": "", "command": ""}}


def test_a_bright_lesion_is_found_by_intensity(make_set, request_of, tmp_path):
    evaluate(make_set(contrast=120), request_of("intensity", resamples=50), tmp_path)
    found = metrics(tmp_path)
    assert found["image_auroc"]["draws"] == [1.0, 1.0]
    assert found["image_auroc"]["ci95"] == [1.0, 1.0]
    assert found["pixel_auroc"]["mean"] > 0.99
    assert found["finding_sensitivity_at_1_fp"]["mean"] == 1.0
    draws = found["protocol"]["draws"]
    assert [(one["normal"], one["abnormal"]) for one in draws] == [(8, 6), (8, 6)]
    always_shots = set(draws[0]["shots"]) & set(draws[1]["shots"])
    assert found["protocol"]["set"]["normal"] == 12 - len(always_shots)


def test_the_report_shows_images_with_their_boxes(make_set, request_of, reports, tmp_path):
    images = make_set(contrast=120, healthy=6)
    written = evaluate(images, request_of("intensity", draws=1), tmp_path)
    html = written.report.read_text()
    (content,) = reports
    assert all(example.identity in html for example in content.examples)
    highest = next(example for example in content.examples if example.abnormal)
    truth = np.asarray(Image.open(tmp_path / "set" / highest.identity.replace(".png", "_mask.png"))) > 0
    pixels = np.asarray(Image.open(tmp_path / "set" / highest.identity))
    rows, columns = np.nonzero(truth)
    assert highest.true_boxes == (Box((rows.min(), columns.min()), (rows.max(), columns.max())),)
    assert [(box.low, box.high) for box in highest.found] == [(box.low, box.high) for box in highest.true_boxes]
    np.testing.assert_array_equal(highest.lesion, truth)
    np.testing.assert_allclose(highest.anomaly_map, pixels / 256, atol=1e-6)
    np.testing.assert_allclose(highest.image, pixels / 256, atol=0.5 / 255 + 1e-6)
    assert highest.called_abnormal


def test_a_second_run_looks_at_nothing_and_says_the_same(make_set, request_of, block_encoders, looks, tmp_path):
    images, request = make_set(), request_of("normal_bank", "intensity", shots=(2, 4))
    evaluate(images, request, tmp_path, encoders=block_encoders)
    first = without_time(metrics(tmp_path))
    assert sum(looks.values()) > 0
    looks.clear()
    evaluate(images, request, tmp_path, encoders=block_encoders)
    assert not looks
    assert without_time(metrics(tmp_path)) == first


def test_a_method_without_training_looks_at_each_image_once(make_set, request_of, looks, tmp_path):
    images = make_set(normal=10, abnormal=3)
    evaluate(images, request_of("intensity", shots=(2, 4), draws=3), tmp_path)
    assert {image: count for (_, image), count in looks.items()} == {case.identity: 1 for case in images.cases}


def test_features_that_are_given_are_not_made_again(make_set, request_of, block_encoders, monkeypatch, tmp_path):
    images, features = make_set(), FeatureStore()
    evaluate(images, request_of("normal_bank"), tmp_path / "first", encoders=block_encoders, features=features)
    monkeypatch.setattr(type(block_encoders.patch_encoder()), "patch_features", None)
    evaluate(images, request_of("normal_bank"), tmp_path / "second", encoders=block_encoders, features=features)
    first, second = (metrics(tmp_path / name)["image_auroc"] for name in ("first", "second"))
    assert first == second


def test_an_interrupted_run_goes_on(make_set, request_of, block_encoders, looks, tmp_path):
    images, request = make_set(), request_of("normal_bank")
    evaluate(images, request, tmp_path / "whole", encoders=block_encoders)
    whole, needed = without_time(metrics(tmp_path / "whole")), looks.copy()
    looks.clear()

    def stop_in_the_middle(what: str, done: int, total: int) -> None:
        if what == "normal_bank: testing" and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(images, request, tmp_path / "parts", stop_in_the_middle, block_encoders)
    assert not (tmp_path / "parts" / "metrics.json").exists()
    before = sum(looks.values())
    assert 0 < before < sum(needed.values())
    evaluate(images, request, tmp_path / "parts", encoders=block_encoders)
    assert looks == needed
    assert without_time(metrics(tmp_path / "parts")) == whole


def test_more_draws_repeat_none_of_the_first(make_set, request_of, block_encoders, looks, tmp_path):
    images = make_set(healthy=8)
    evaluate(images, request_of("normal_bank", draws=1), tmp_path, encoders=block_encoders)
    one = sum(looks.values())
    looks.clear()
    evaluate(images, request_of("normal_bank", draws=2), tmp_path, encoders=block_encoders)
    assert sum(looks.values()) == one


def test_a_changed_image_is_looked_at_again(make_set, request_of, looks, tmp_path):
    images = make_set(healthy=6)
    evaluate(images, request_of(), tmp_path)
    looks.clear()
    changed = images.cases[3]
    Image.fromarray(255 - np.asarray(Image.open(changed.image))).save(changed.image)
    evaluate(images, request_of(), tmp_path)
    assert set(looks) == {("IntensityDetector", changed.identity)}


def test_another_config_repeats_everything(make_set, request_of, looks, tmp_path):
    images, request = make_set(healthy=6), request_of()
    evaluate(images, request, tmp_path)
    first = looks.copy()
    looks.clear()
    Path(request.config).write_text(CONFIG.replace("width_hu: 256", "width_hu: 250"))
    evaluate(images, request, tmp_path)
    assert looks == first


@pytest.mark.parametrize("method", ["intensity", "normal_bank"])
def test_test_images_never_move_a_threshold(make_set, request_of, block_encoders, tmp_path, method):
    thresholds = []
    for name, contrast in (("weak", 5), ("strong", 140)):
        images = make_set(healthy=8, contrast=contrast, name=name)
        tested = images.cases[2:] if name == "strong" else images.cases
        evaluate(replace(images, cases=tested), request_of(method), tmp_path / name, encoders=block_encoders)
        thresholds.append(metrics(tmp_path / name)["protocol"]["thresholds"])
    assert thresholds[0] == thresholds[1]
    assert thresholds[0][0]["image"] is not None


def test_a_bank_judges_no_shot_that_it_learnt(make_set, request_of, block_encoders, tmp_path):
    """A detector that had learnt its shots would give them distance 0."""
    evaluate(make_set(healthy=8), request_of("normal_bank"), tmp_path, encoders=block_encoders)
    for told in metrics(tmp_path)["protocol"]["thresholds"]:
        assert told["image"] > 1e-4
        assert "learnt from the others" in told["rule"]


def test_thresholds_are_the_quantiles_of_the_shots(make_set, request_of, tmp_path):
    images, request = make_set(healthy=5), request_of(draws=1)
    evaluate(images, request, tmp_path)
    told = metrics(tmp_path)["protocol"]
    by_name = {case.identity: case.image for case in images.healthy}
    shown = [np.asarray(Image.open(by_name[name]), dtype=float) / 256 for name in told["draws"][0]["shots"]]
    scores = [np.quantile(one, 0.99) for one in shown]
    assert told["thresholds"][0]["image"] == pytest.approx(np.quantile(scores, 0.95), abs=1e-6)
    assert told["thresholds"][0]["pixel"] == pytest.approx(np.quantile(shown, 0.99), abs=0.003)


def test_shots_are_nested_and_leave_the_test(make_set, request_of, tmp_path):
    images = make_set(patients=6)
    evaluate(images, request_of("intensity", shots=(1, 2)), tmp_path)
    patients = {case.identity: case.patient for case in images.cases}
    found = metrics(tmp_path)
    assert set(found["by_shots"]) == {"1", "2"}
    for draw in found["protocol"]["draws"]:
        assert len(draw["shots"]) == 2
        left = set(patients.values()) - {patients[name] for name in draw["shots"]}
        assert draw["patients"] == len(left)


def test_without_a_threshold_what_it_would_cut_is_null(make_set, request_of, tmp_path):
    evaluate(make_set(), request_of("intensity", shots=(0,)), tmp_path)
    found = metrics(tmp_path)
    assert found["image_auroc"]["mean"] is not None
    assert found["pixel_aupro"]["mean"] is not None
    for name in ("image_f1", "image_fpr_at_0.5", "pixel_dice", "pixel_hd95", "finding_ap_at_0.1"):
        assert found[name] == {"mean": None, "std": None, "ci95": None, "draws": [None]}
    (told,) = found["protocol"]["thresholds"]
    assert (told["image"], told["pixel"]) == (None, None)
    assert "0 held-out healthy images" in told["rule"]
    assert found["protocol"]["draws"][0]["normal"] == 12


def test_a_healthy_set_gives_thresholds_without_shots(make_set, request_of, tmp_path):
    evaluate(make_set(healthy=5), request_of("intensity", shots=(0,)), tmp_path)
    found = metrics(tmp_path)
    assert len(found["protocol"]["draws"][0]["calibration"]) == 5
    assert "5 held-out healthy images" in found["protocol"]["thresholds"][0]["rule"]
    assert found["pixel_dice"]["mean"] is not None


def test_one_class_alone_is_evaluated_as_far_as_it_goes(make_set, request_of, tmp_path):
    evaluate(make_set(normal=9, abnormal=0), request_of(), tmp_path)
    found = metrics(tmp_path)
    assert found["image_auroc"] == {"mean": None, "std": None, "ci95": None, "draws": [None, None]}
    assert 0 <= found["image_specificity"]["mean"] <= 1
    assert found["image_recall"]["mean"] is None


def test_an_image_that_cannot_be_read_is_named_and_the_rest_goes_on(make_set, request_of, tmp_path):
    images = make_set(healthy=5)
    for case in (images.cases[0], images.cases[-1], images.healthy[2]):
        case.image.write_bytes(case.image.read_bytes()[:60])
    images.cases[1].image.unlink()
    written = evaluate(images, request_of(), tmp_path)
    broken = sorted(case.identity for case in (*images.cases[:2], images.cases[-1], images.healthy[2]))
    found = metrics(tmp_path)
    assert [one["identity"] for one in found["failed"]] == broken == [one.identity for one in written.failed]
    assert "abnormal5.png" in written.failed[0].reason
    assert (found["protocol"]["set"]["normal"], found["protocol"]["set"]["abnormal"]) == (10, 5)
    assert all(len(set(draw["shots"])) == 4 for draw in found["protocol"]["draws"])
    assert images.healthy[2].identity not in {name for draw in found["protocol"]["draws"] for name in draw["shots"]}


def test_a_mask_of_another_size_is_named(make_set, request_of, tmp_path):
    images = make_set(healthy=4)
    Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).save(images.cases[-1].mask)
    written = evaluate(images, request_of(), tmp_path)
    assert [one.identity for one in written.failed] == ["abnormal5.png"]
    assert "_mask.png" in written.failed[0].reason


def test_nothing_readable_is_an_error(make_set, request_of, tmp_path):
    images = make_set(healthy=4, normal=2, abnormal=1)
    for case in images.cases:
        case.image.write_bytes(b"")
    with pytest.raises((ImageReadError, ConfigError)):
        evaluate(images, request_of(), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_methods_are_compared_on_the_same_images(make_set, request_of, block_encoders, tmp_path):
    evaluate(make_set(contrast=60), request_of("intensity", "normal_bank"), tmp_path, encoders=block_encoders)
    found = metrics(tmp_path)
    assert set(found["methods"]) == {"intensity", "normal_bank"}
    assert found["image_auroc"] == found["methods"]["intensity"]["image_auroc"]
    assert found["by_shots"]["4"]["image_auroc"] == found["image_auroc"]
    delong = [test for test in found["comparisons"] if test["test"] == "DeLong"]
    assert [(test["first"], test["second"], test["count"]) for test in delong] == [("intensity", "normal_bank", 14)] * 2
    means = [found["methods"][name]["image_auroc"]["draws"][0] for name in ("intensity", "normal_bank")]
    assert delong[0]["difference"] == pytest.approx(means[0] - means[1])
    assert found["methods"]["normal_bank"]["model"]["name"] == "block means"
    assert len(found["methods"]["normal_bank"]["model"]["weights_sha256"]) == 64


def test_copies_of_shots_are_reported(make_set, request_of, tmp_path):
    images = make_set(healthy=4)
    images.cases[0].image.write_bytes(images.healthy[1].image.read_bytes())
    evaluate(images, request_of(), tmp_path)
    pairs = metrics(tmp_path)["protocol"]["near_duplicates"]
    assert {
        "shot": "healthy1.png",
        "test": "normal0.png",
        "similarity": 1.0,
        "mirrored": False,
        "draws": [0, 1],
    } in pairs


def test_a_bank_without_shots_is_refused(make_set, request_of, tmp_path):
    with pytest.raises(ConfigError, match="normal_bank"):
        evaluate(make_set(), request_of("intensity", "normal_bank", shots=(0,)), tmp_path)


def test_the_protocol_lets_somebody_repeat_it(make_set, request_of, tmp_path):
    evaluate(make_set(), request_of(seed=7, command="anomalabel evaluate ..."), tmp_path)
    protocol = metrics(tmp_path)["protocol"]
    assert (protocol["seed"], protocol["shots"], len(protocol["draws"])) == (7, [4], 2)
    assert protocol["config"]["name"] == "grey"
    assert protocol["command"] == "anomalabel evaluate ..."
    assert "empty mask" in protocol["empty_mask"]
    assert {"anomalabel", "python", "torch"} <= set(protocol["versions"])
    assert all(math.isfinite(one["image"]) for one in protocol["thresholds"])
