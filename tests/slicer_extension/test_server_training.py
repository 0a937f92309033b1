"""Trainings and scorings as the server tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from AnomaLabelLib.errors import ReplyError, RequestRefusedError, VersionError
from AnomaLabelLib.server.client import Client
from AnomaLabelLib.server.training import TrainingFacts, TrainingOutcome, parse_training
from small_server import SmallServer, small_server

RUNNING = {
    "id": "5f0c9a4e-3f0b-4b57-8a55-0d7f3f7b5c01",
    "model": "few_shot_localization",
    "request": {"config": "liver_ct", "healthy": None},
    "status": "RUNNING",
    "stage": "learning the prompts",
    "done": 30,
    "total": 120,
    "percent": 25,
    "seconds_running": 12.5,
    "seconds_left": 37.5,
    "resumes": False,
    "details": ["loading the encoder", "learning the prompts"],
    "error": "",
    "report": None,
    "start_ts": "2025-03-04 05:06:07",
    "end_ts": "",
}
REPORT = {
    "model": "liver_ct",
    "weights_sha256": "0" * 64,
    "shots_used": 16,
    "images": ["a", "b"],
    "left_out": [{"image": "torn.png", "reason": "it is cut off"}],
    "warnings": ["Only 16 healthy images."],
    "metrics": {"pixel_auroc": 0.9},
    "thresholds": {"image": "95 % of 4 held-out healthy images stay below", "pixel": "99 %"},
}
ENDED = {**RUNNING, "status": "DONE", "stage": "", "percent": 100, "seconds_left": None, "report": REPORT}


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with small_server() as served:
        yield served


@pytest.fixture
def client(server) -> Client:
    return Client(server.url)


@pytest.mark.parametrize(("path", "act"), [("/train/", "training"), ("/scoring/", "scoring")])
def test_how_far_it_is(server, client, path, act):
    server.answer_json(path, RUNNING)
    facts = getattr(client, act)()
    assert facts == TrainingFacts(
        task="few_shot_localization",
        config="liver_ct",
        status="RUNNING",
        stage="learning the prompts",
        done=30,
        total=120,
        percent=25,
        seconds_running=12.5,
        seconds_left=37.5,
        error="",
        resumes=False,
        details=("loading the encoder", "learning the prompts"),
        outcome=None,
        started="2025-03-04 05:06:07",
        ended="",
    )
    assert facts.running


def test_what_came_of_a_training():
    facts = parse_training(ENDED)
    assert not facts.running
    assert facts.outcome == TrainingOutcome(
        model="liver_ct",
        shots=16,
        thresholds=(("image", "95 % of 4 held-out healthy images stay below"), ("pixel", "99 %")),
        left_out=(("torn.png", "it is cut off"),),
        warnings=("Only 16 healthy images.",),
    )


def test_what_came_of_a_scoring():
    report = {"task": "clap_attention", "scored": 8, "skipped": [{"image": "x", "reason": "no image"}]}
    outcome = parse_training({**ENDED, "model": "clap_attention", "request": {"images": "all"}, "report": report})
    assert (outcome.task, outcome.config) == ("clap_attention", "")
    assert outcome.outcome == TrainingOutcome(scored=8, left_out=(("x", "no image"),))


def test_why_a_training_failed():
    facts = parse_training({**RUNNING, "status": "ERROR", "error": "The server ended during this training."})
    assert (facts.running, facts.error, facts.outcome) == (False, "The server ended during this training.", None)


@pytest.mark.parametrize(
    ("act", "method", "path"),
    [
        ("training", "GET", "/train/"),
        ("cancel_training", "DELETE", "/train/"),
        ("scoring", "GET", "/scoring/"),
        ("cancel_scoring", "DELETE", "/scoring/"),
    ],
)
def test_nothing_was_started(server, client, act, method, path):
    server.answer_json(path, {"detail": "Nothing was trained yet."}, 404, method)
    assert getattr(client, act)() is None
    server.answer_json(path, {"detail": "Not Found"}, 404, method)
    with pytest.raises(VersionError):
        getattr(client, act)()


@pytest.mark.parametrize(("act", "path"), [("training", "/train/"), ("scoring", "/scoring/")])
def test_starting_and_cancelling(server, client, act, path):
    server.answer_json(f"{path}few_shot_localization", RUNNING, method="POST")
    server.answer_json(path, {**RUNNING, "stage": "cancelling"}, method="DELETE")
    assert getattr(client, f"start_{act}")("few_shot_localization", {"config": "liver_ct"}).percent == 25
    assert getattr(client, f"cancel_{act}")().stage == "cancelling"
    assert json.loads(server.requests[0].body) == {"config": "liver_ct"}


def test_a_second_training_is_refused_in_the_servers_words(server, client):
    server.answer_json("/train/few_shot_localization", {"detail": "A training is running. Wait."}, 409, "POST")
    with pytest.raises(RequestRefusedError) as caught:
        client.start_training("few_shot_localization", {})
    assert caught.value.cause == "A training is running. Wait."


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"request": "liver_ct"},
        {"status": "PAUSED"},
        {"done": "30"},
        {"percent": None},
        {"seconds_left": "soon"},
        {"details": "loading"},
        {"resumes": "no"},
        {"report": []},
        {"report": {**REPORT, "shots_used": "16"}},
        {"report": {**REPORT, "thresholds": {"image": 0.4}}},
        {"report": {**REPORT, "left_out": ["torn.png"]}},
    ],
)
def test_a_malformed_status_is_refused(change):
    with pytest.raises(ReplyError, match="says of its training cannot be read: training") as caught:
        parse_training({**RUNNING, **change})
    assert "Compare the versions" in caught.value.remedy


@pytest.mark.parametrize(("told", "shown"), [(-3, 0), (250, 100)])
def test_a_percentage_stays_one(told, shown):
    assert parse_training({**RUNNING, "percent": told}).percent == shown
