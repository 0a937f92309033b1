"""Learning from every healthy image: which ones, with which seeds, and what the results say of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anomalabel.detectors.registry import BUILDERS
from anomalabel.errors import ConfigError
from anomalabel.evaluation import description, protocol
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.evaluate import evaluate
from anomalabel.evaluation.protocol import EvaluationRequest, plan_draws, rules_of, seeds_of, with_all_counted
from anomalabel.finding import ModelIdentity

CONFIG = """
name: grey
title: Grey pictures
anatomy: nothing
modality: picture
prompts: {positive: [a disc], negative: [waves]}
preprocessing: {intensity: {kind: ct_window, center_hu: 128, width_hu: 256}, foreground: {enabled: false}}
findings: {minimum_area_mm2: 4}
"""
CLAP, EAR = "reconstruction_clap", "reconstruction_ear"


@pytest.fixture
def request_of(tmp_path):
    """A request of the grey config for all healthy images, 2 draws, no bootstrap, unless said otherwise."""
    path = tmp_path / "grey.yaml"
    path.write_text(CONFIG)

    def make(*methods: str, **changes) -> EvaluationRequest:
        values = {"shots": (), "all_shots": True, "draws": 2, "resamples": 0, "seed": 5, **changes}
        return EvaluationRequest(config=str(path), methods=methods, **values)

    return make


@pytest.fixture(autouse=True)
def unwritten(request, monkeypatch) -> None:
    """Reports take long to draw: they are written only in tests that are named so."""
    if "report" not in request.node.name:
        monkeypatch.setattr("anomalabel.evaluation.evaluate.write_report", lambda content, path: None)


def metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


def cases(kind: str, count: int, patients: int = 0) -> tuple[EvaluationCase, ...]:
    return tuple(
        EvaluationCase(
            f"{kind}{number}",
            Path(f"{kind}{number}.png"),
            kind == "abnormal",
            patient=f"p{number % patients}" if patients else None,
        )
        for number in range(count)
    )


def test_all_is_every_readable_image_of_patients_who_are_not_tested(request_of):
    images = EvaluationSet("set", cases("normal", 3, 3) + cases("abnormal", 2), cases("healthy", 10, 5))
    asked = request_of(CLAP, shots=(2,))
    counted = with_all_counted(images, asked, {images.healthy[3]})
    assert counted.shots == (2, 3)
    (draw, *_) = plan_draws(images, counted, {images.healthy[3]})
    assert {case.identity for case in draw.shots} == {"healthy4", "healthy8", "healthy9"}
    assert draw.learnt(2) == draw.shots[:2]
    assert with_all_counted(images, request_of(CLAP, shots=(3,)), {images.healthy[3]}).shots == (3,)
    few = request_of(CLAP, shots=(4,), all_shots=False)
    assert with_all_counted(images, few, set()) == few


def test_all_needs_a_healthy_set(request_of):
    bare = EvaluationSet("bare", cases("normal", 9) + cases("abnormal", 2))
    with pytest.raises(ConfigError, match=r"bare has no healthy set;.*--healthy"):
        with_all_counted(bare, request_of(CLAP), set())
    shared = EvaluationSet("shared", cases("normal", 4, 4), cases("healthy", 9, 4))
    with pytest.raises(ConfigError, match="no healthy set whose patients are not tested"):
        with_all_counted(shared, request_of(CLAP), set())


def test_draws_with_other_images_have_one_seed_and_draws_with_the_same_have_their_own(request_of):
    images = EvaluationSet("set", cases("normal", 3) + cases("abnormal", 2), cases("healthy", 10))
    draws = plan_draws(images, with_all_counted(images, request_of(CLAP, shots=(4,)), set()), set())
    assert len({draw.shots for draw in draws}) == 2
    assert len({frozenset(draw.shots) for draw in draws}) == 1
    assert seeds_of(draws, 10, 5) == {0: 5, 1: 6}
    assert seeds_of(draws, 4, 5) == {0: 5, 1: 5}
    assert seeds_of(draws, 10, 2**32 - 1) == {0: 2**32 - 1, 1: 0}


def test_each_draw_learns_all_images_with_its_own_seed(make_set, request_of, learners, block_encoders, tmp_path):
    images, told = make_set(normal=6, abnormal=3, healthy=7, contrast=30), []
    asked = request_of(CLAP, EAR, shots=(4,))
    evaluate(images, asked, tmp_path, lambda *stage: told.append(stage), block_encoders)
    built = [(name, len(context.healthy), context.seed) for name, context in learners]
    assert built == [(name, *facts) for name in ("clap", "ear") for facts in ((4, 5), (4, 5), (7, 5), (7, 6))]
    every = {str(case.image) for case in images.healthy}
    assert all({image.source for image in context.healthy} == every for _, context in learners[2:4])
    found = metrics(tmp_path)
    assert set(found["by_shots"]) == {"4", "7"}
    assert len(set(found["pixel_auroc"]["draws"])) == 2, "draws repeat each other"
    assert ("reconstruction_clap, draw 2: adding up", 6, 7) in told
    protocol_of = found["protocol"]
    assert (protocol_of["shots"], protocol_of["all_shots"]) == ([4, 7], True)
    assert [one["shot_count"] for one in protocol_of["draws"]] == [7] * 2
    assert {test["second"] for test in found["comparisons"]} == {EAR}


def test_what_was_learnt_is_not_learnt_again(make_set, request_of, learners, block_encoders, tmp_path):
    images, asked = make_set(normal=4, abnormal=2, healthy=4), request_of(CLAP)
    evaluate(images, asked, tmp_path, encoders=block_encoders)
    first = metrics(tmp_path)
    assert len(learners) == 2
    evaluate(images, asked, tmp_path, encoders=block_encoders)
    assert len(learners) == 2
    assert metrics(tmp_path)["methods"] == first["methods"]
    evaluate(images, request_of(CLAP, seed=6), tmp_path, encoders=block_encoders)
    assert len(learners) == 4


def test_another_network_behind_the_saliency_repeats_everything(
    make_set, request_of, learners, block_encoders, tmp_path, monkeypatch
):
    images, builder = make_set(normal=4, abnormal=2, healthy=4), BUILDERS[EAR]
    for weights, expected in (("a", 1), ("b", 2), ("a", 2)):
        network = ModelIdentity(name="self-attention", weights_sha256=weights * 64)
        monkeypatch.setitem(BUILDERS, EAR, replace(builder, networks=lambda context, network=network: (network,)))
        evaluate(images, request_of(EAR, draws=1), tmp_path, encoders=block_encoders)
        assert len(learners) == expected


def test_the_report_says_what_gave_the_saliency(make_set, request_of, learners, block_encoders, tmp_path):
    written = evaluate(make_set(healthy=4), request_of(CLAP, EAR, draws=1), tmp_path, encoders=block_encoders)
    assert [one["description"] for one in metrics(tmp_path)["methods"].values()] == [
        "saliency of clap",
        "saliency of ear",
    ]
    page = written.report.read_text()
    assert "saliency of clap" in page
    assert "saliency of ear" in page
    assert "attends to by itself, without any text" in page
    assert "4 (all)" in page
    assert "seeded with the evaluation&#39;s seed plus the number of the draw" in page


def test_many_shots_are_counted_and_not_named(make_set, request_of, learners, block_encoders, tmp_path, monkeypatch):
    monkeypatch.setattr(description, "LISTED_SHOTS", 5)
    evaluate(make_set(healthy=6), request_of(CLAP, draws=1), tmp_path, encoders=block_encoders)
    (draw,) = metrics(tmp_path)["protocol"]["draws"]
    assert (draw["shots"], draw["shot_count"]) == (None, 6)


def test_a_method_that_does_not_learn_looks_at_the_first_shots_alone(make_set, request_of, tmp_path, monkeypatch):
    for module in ("protocol", "runner"):
        monkeypatch.setattr(f"anomalabel.evaluation.{module}.MOST_CALIBRATION_IMAGES", 7)
    evaluate(make_set(healthy=9), request_of("intensity", draws=2), tmp_path)
    found = metrics(tmp_path)["protocol"]
    assert all("scores of 7 held-out healthy images" in told["rule"] for told in found["thresholds"])
    assert any("take the first 7 at most" in rule for rule in found["rules"])


def test_rules_say_what_all_means_only_where_it_is_asked(request_of):
    images = EvaluationSet("set", cases("normal", 3) + cases("abnormal", 2), cases("healthy", 3000))
    asked = with_all_counted(images, request_of(CLAP), set())
    text = " ".join(rules_of(asked, images))
    assert "All 3,000 images of the healthy set" in text
    assert f"first {protocol.MOST_CALIBRATION_IMAGES} at most" in text
    few = " ".join(rules_of(request_of(CLAP, shots=(16,), all_shots=False), images))
    assert "in another order" not in few
    assert "at most for their" not in few


def test_all_stands_not_beside_no_shots(request_of):
    with pytest.raises(ValueError, match="0 shots stands alone"):
        request_of(CLAP, shots=(0,))


def test_named_encoders_keep_their_features_for_the_next_command(make_set, tmp_path, tiny_clip_folder, monkeypatch):
    monkeypatch.setenv("ANOMALABEL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "grey.yaml"
    path.write_text(CONFIG)
    values = {"shots": (3,), "draws": 1, "resamples": 0, "backbone": str(tiny_clip_folder), "device": "cpu"}
    asked = EvaluationRequest(config=str(path), methods=("normal_bank",), **values)
    images = make_set(normal=4, abnormal=2, healthy=3)
    evaluate(images, asked, tmp_path / "first")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 9

    def refuse(encoder, framed):
        assert not framed, "a slice is encoded again"
        return []

    monkeypatch.setattr("anomalabel.localization.patch_features.encode_framed", refuse)
    evaluate(images, asked, tmp_path / "second")
    assert metrics(tmp_path / "first")["methods"] == metrics(tmp_path / "second")["methods"]
