"""The worklist, its leases and the reviews of an image, as the server sends them and as they must not be."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email import message_from_bytes
from urllib.parse import parse_qs, urlsplit

import pytest
from AnomaLabelLib.errors import CaseTakenError, ReplyError
from AnomaLabelLib.server.client import Client
from AnomaLabelLib.server.json_fields import JsonFields
from AnomaLabelLib.server.worklist import CaseScore, Lease, WorklistCase, parse_lease, parse_worklist
from hypothesis import given
from hypothesis import strategies as st
from small_server import Reply, SmallServer, small_server

PANEL = "0b9f7c1e-5a3d-4c3e-9a43-3a4e0f6f2f11"
EVENT = {"event_id": "6F2A6F7E-0f34-4b57-9a55-0d7f3f7b5c01", "reviewer": "anna", "action": "case_normal"}
KEPT = {**EVENT, "event_id": EVENT["event_id"].lower(), "utc": "2025-03-04T05:06:07Z", "image": "scan & 1"}
NOON = datetime(2025, 3, 4, 12, 0, tzinfo=timezone.utc)
WORKLIST = {
    "order": "most_anomalous",
    "orders": ["first", "random", "most_anomalous"],
    "notes": ["2 cases have no score yet."],
    "seconds_per_lease": 900,
    "cases": [
        {
            "image": "scan & 1",
            "state": "in_review",
            "verdict": None,
            "reviewer": "anna",
            "utc": "2025-03-04T11:00:00.250000Z",
            "lease": {"reviewer": "anna", "until_utc": "2025-03-04T13:00:00+01:00", "mine": False},
            "scores": {
                "clap_attention": {
                    "image_score": 0.8,
                    "relative": None,
                    "uncertainty": 0.1,
                    "findings": 3,
                    "model": "embedded@012345678901",
                    "utc": "2025-03-04T12:00:00",
                }
            },
            "rank": 0.8,
            "problem": "",
        },
        {
            "image": "b",
            "state": "reviewed",
            "verdict": "abnormal",
            "reviewer": None,
            "utc": None,
            "lease": None,
            "scores": {},
            "rank": None,
            "problem": "reviews/b.jsonl, line 2: this is no review event.",
        },
    ],
}


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with small_server() as served:
        yield served


@pytest.fixture
def client(server) -> Client:
    return Client(server.url, client_id=PANEL)


def test_the_worklist_is_asked_for_by_order_seed_and_panel(server, client):
    server.answer_json("/worklist", WORKLIST)
    worklist = client.worklist("random", 7)
    (asked,) = server.requests
    assert parse_qs(urlsplit(asked.path).query) == {"order": ["random"], "seed": ["7"], "client": [PANEL]}
    assert (worklist.order, worklist.orders) == ("most_anomalous", ("first", "random", "most_anomalous"))
    assert worklist.notes == ("2 cases have no score yet.",)
    assert worklist.seconds_per_lease == 900
    score = CaseScore("clap_attention", 0.8, None, 0.1, 3, "embedded@012345678901", NOON)
    assert worklist.cases == (
        WorklistCase(
            image="scan & 1",
            state="in_review",
            reviewer="anna",
            utc=NOON - timedelta(hours=1) + timedelta(milliseconds=250),
            lease=Lease("anna", NOON, mine=False),
            scores=(score,),
            rank=0.8,
        ),
        WorklistCase("b", "reviewed", "abnormal", problem="reviews/b.jsonl, line 2: this is no review event."),
    )
    assert worklist.cases[0].score("clap_attention") == score
    assert worklist.cases[0].score("few_shot_localization") is None


def changed(path: str, value: object) -> dict:
    """The worklist with one value replaced, or taken out where it is `...`."""
    made = copy.deepcopy(WORKLIST)
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    inner = made
    for step in steps:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order", ...),
        ("orders", "first"),
        ("orders", [1]),
        ("notes", None),
        ("seconds_per_lease", True),
        ("seconds_per_lease", 0),
        ("seconds_per_lease", float("inf")),
        ("seconds_per_lease", 10**400),
        ("cases", {}),
        ("cases.0", "scan"),
        ("cases.0.image", 3),
        ("cases.0.state", "finished"),
        ("cases.0.verdict", "maybe"),
        ("cases.0.reviewer", 4),
        ("cases.0.utc", "yesterday"),
        ("cases.0.utc", "0001-01-01T00:00:00+23:00"),
        ("cases.0.lease.mine", "false"),
        ("cases.0.lease.until_utc", ...),
        ("cases.0.scores", []),
        ("cases.0.scores.clap_attention", 0.8),
        ("cases.0.scores.clap_attention.image_score", float("nan")),
        ("cases.0.scores.clap_attention.findings", 2.5),
        ("cases.0.rank", "high"),
    ],
)
def test_a_malformed_worklist_is_refused_and_its_place_is_named(path, value):
    with pytest.raises(ReplyError) as caught:
        parse_worklist(changed(path, value))
    assert caught.value.cause.startswith("The server's worklist cannot be read: worklist")
    assert path.rsplit(".", 1)[-1] in caught.value.cause
    assert caught.value.remedy == "Compare the versions of server and extension."


def test_a_case_that_was_never_touched_needs_little():
    (case,) = parse_worklist(changed("cases", [{"image": "a", "state": "new", "scores": {}}])).cases
    assert case == WorklistCase("a", "new")


def test_a_lease_is_taken_and_given_back(server, client):
    until = {"image": "scan & 1", "reviewer": "anna", "until_utc": "2025-03-04T12:00:00Z", "seconds": 900}
    server.answer_json("/worklist/scan%20%26%201/lease", until, method="POST")
    server.answer_json("/worklist/scan%20%26%201/lease", {}, method="DELETE")
    assert client.lease("scan & 1", "anna") == Lease("anna", NOON, mine=True, seconds=900)
    client.release("scan & 1")
    taken, released = server.requests
    assert json.loads(taken.body) == {"reviewer": "anna", "client": PANEL}
    assert parse_qs(urlsplit(released.path).query) == {"client": [PANEL]}


def test_each_panel_without_an_id_gets_one_of_its_own(server):
    assert Client(server.url).client_id != Client(server.url).client_id != ""


def test_a_case_that_somebody_else_has(server, client):
    words = "anna has this case open until 12:40 UTC. Take another case, or wait until then."
    server.answer_json("/worklist/a/lease", {"detail": words}, 409, "POST")
    with pytest.raises(CaseTakenError) as caught:
        client.lease("a", "bob")
    assert caught.value.cause == words
    assert "Next" in caught.value.remedy


@pytest.mark.parametrize("answer", [{}, [], {"reviewer": "anna", "until_utc": "noon", "seconds": 1}])
def test_a_lease_that_is_none(answer):
    with pytest.raises(ReplyError, match="worklist cannot be read: lease"):
        parse_lease(answer)


def test_the_reviews_of_an_image(server, client):
    answer = {"image": "a", "verdict": None, "events": [KEPT], "warnings": ["torn"], "state": "in_review"}
    server.answer_json("/reviews/a", answer)
    reply = client.reviews("a")
    assert (reply.events, reply.warnings, reply.state) == ((KEPT,), ("torn",), "in_review")


@pytest.mark.parametrize("change", [{"events": [1]}, {"events": None}, {"state": "done"}, {"warnings": "torn"}])
def test_reviews_that_are_none(server, client, change):
    server.answer_json("/reviews/a", {"events": [], "warnings": [], "state": "new", **change})
    with pytest.raises(ReplyError, match=f"cannot be read: reviews.{next(iter(change))}"):
        client.reviews("a")


def test_an_event_is_sent_as_it_is(server, client):
    server.answer_json("/reviews/scan%20%26%201", KEPT, method="POST")
    client.send_event("scan & 1", EVENT)
    (asked,) = server.requests
    assert json.loads(asked.body) == EVENT
    assert asked.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("answer", [{"event_id": "another"}, {}, [], {"status": "ok"}])
def test_only_the_servers_own_word_is_a_receipt(server, client, answer):
    server.answer_json("/reviews/a", answer, method="POST")
    with pytest.raises(ReplyError, match="about a review cannot be read"):
        client.send_event("a", EVENT)


def test_a_mask_is_sent_whole_under_its_hash(server, client):
    content = bytes(range(256)) * 300
    server.answer_json(f"/reviews/a%2Fb/masks/{'0' * 64}", {"sha256": "0" * 64}, method="PUT")
    client.send_mask("a/b", "0" * 64, content)
    (asked,) = server.requests
    form = message_from_bytes(b"Content-Type: " + asked.headers["Content-Type"].encode() + b"\r\n\r\n" + asked.body)
    (part,) = form.get_payload()
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_payload(decode=True) == content


@pytest.mark.parametrize("body", [b"<html></html>", b"{}", b'{"sha256": "1111"}'])
def test_only_the_servers_own_word_is_a_receipt_for_a_mask(server, client, body):
    server.answer("PUT", f"/reviews/a/masks/{'0' * 64}", Reply(body))
    with pytest.raises(ReplyError, match=r"no JSON|mask\.sha256 is missing|another mask"):
        client.send_mask("a", "0" * 64, b"mask")


@given(st.datetimes(timezones=st.timezones() | st.just(timezone.utc), allow_imaginary=False))
def test_moments_come_back_in_utc(moment):
    moment = moment.astimezone(timezone.utc)
    for text in (moment.isoformat(), moment.replace(tzinfo=None).isoformat() + "Z"):
        assert JsonFields({"utc": text}, "case", ReplyError).moment("utc") == moment
