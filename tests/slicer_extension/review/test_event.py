"""Events: what the server takes, and what of its answers is taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from AnomaLabelLib.errors import ReplyError
from AnomaLabelLib.review import event as panel_events
from AnomaLabelLib.review.event import parse_event, together
from review_examples import IMAGE, START, context, event, row

from monailabel_app.reviews.event import CASE_ACTIONS, FindingAction, Review, event_of

FIRST, SECOND = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_panel_and_server_know_the_same_actions():
    assert panel_events.CASE_ACTIONS == CASE_ACTIONS
    assert set(FindingAction.__args__) == panel_events.FINDING_ACTIONS


def test_the_server_takes_a_body_and_its_answer_is_the_same_event():
    sent = context().event("rejected", finding_id="a", before=row(), reason="vessel", undoes=FIRST)
    kept = event_of(Review.model_validate(sent.to_body()), IMAGE, None)
    came = parse_event(kept.model_dump(mode="json"))
    assert came.utc is not None
    assert came.moment == START
    assert {**vars(came), "utc": None} == vars(sent)


def test_a_body_leaves_out_what_is_not_known_and_the_image():
    body = event("case_normal", event_id=FIRST).to_body()
    assert body == {
        "event_id": FIRST,
        "reviewer": "anna",
        "action": "case_normal",
        "acted_utc": "2026-03-01T09:00:00+00:00",
        "client": "",
    }


def test_without_the_readers_clock_the_servers_counts():
    values = {**event("case_normal", event_id=FIRST).to_body(), "image": IMAGE, "utc": "2026-03-01T10:30:00.25Z"}
    del values["acted_utc"]
    assert parse_event(values).moment == START + timedelta(hours=1.5, milliseconds=250)


def test_what_a_newer_server_says_besides_is_passed_over():
    values = {**event("praised", event_id=FIRST).to_body(), "image": IMAGE, "previous_sha256": None, "stars": 5}
    assert parse_event(values).action == "praised"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event_id": "7"}, "event id"),
        ({"event_id": None}, "event_id"),
        ({"reviewer": None}, "reviewer"),
        ({"action": 3}, "action"),
        ({"finding_id": None}, "rule"),
        ({"finding_id": 4}, "finding_id"),
        ({"action": "case_normal"}, "rule"),
        ({"before": []}, "before"),
        ({"after": "x"}, "after"),
        ({"reason": 1}, "reason"),
        ({"undoes": "x"}, "event id"),
        ({"acted_utc": "yesterday"}, "acted_utc"),
        ({"model": "embedded"}, "model"),
        ({"image": None}, "image"),
    ],
)
def test_a_malformed_event_is_refused_by_name(changes, message):
    values = {**event("accepted", "a", event_id=FIRST).to_body(), "image": IMAGE, **changes}
    with pytest.raises(ReplyError, match=message):
        parse_event(values)


def test_something_else_than_an_event_is_refused():
    with pytest.raises(ReplyError, match="not an object"):
        parse_event(None)


def test_events_that_the_server_keeps_come_first_and_none_twice():
    first, second = event("case_normal", event_id=FIRST), event("case_reopened", event_id=SECOND)
    assert together([second], [first, second]) == (second, first)
