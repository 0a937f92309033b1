"""What events come to: findings, verdicts of several readers, and states."""

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monailabel_app.reviews.event import Review, ReviewEvent, event_of
from monailabel_app.reviews.outcome import CaseOutcome, fold

START = datetime(2026, 3, 1, 8, 0, tzinfo=timezone.utc)
SMALL = {"id": "f1", "index_min": [1, 2, 3], "index_max": [4, 5, 6], "score": 0.5}
LARGE = {**SMALL, "index_max": [7, 8, 9]}


def acts(*said: tuple[str, dict[str, Any]] | str) -> list[ReviewEvent]:
    """Events a minute apart: "A case_normal", or that with further values."""
    events = []
    for number, one in enumerate(said):
        text, values = (one, {}) if isinstance(one, str) else one
        reviewer, action, *finding = text.split()
        values = {**values, **({"finding_id": finding[0]} if finding else {})}
        when = START + timedelta(minutes=number)
        review = Review(reviewer=reviewer, action=action, acted_utc=when, **values)
        events.append(event_of(review, "head", None))
    return events


@pytest.mark.parametrize(
    ("said", "state", "verdict", "reviewer"),
    [
        ([], "new", None, None),
        (["A read_abnormal"], "in_review", None, "A"),
        (["A case_normal"], "reviewed", "normal", "A"),
        (["A case_normal", "A case_abnormal"], "reviewed", "abnormal", "A"),
        (["A case_normal", "B case_reopened"], "in_review", None, "B"),
        (["A case_normal", "B case_reopened", "B case_abnormal"], "reviewed", "abnormal", "B"),
        (["A case_normal", "A second_reader"], "second_reader", "normal", "A"),
        (["A second_reader"], "second_reader", None, "A"),
        (["A second_reader", "A case_normal"], "second_reader", "normal", "A"),
        (["A second_reader", "A second_reader_withdrawn", "A case_normal"], "reviewed", "normal", "A"),
        (["A case_normal", "A second_reader", "B case_normal"], "reviewed", "normal", "B"),
        (["B case_normal", "A case_normal", "A second_reader"], "second_reader", "normal", "A"),
        (["A case_normal", "A second_reader", "B case_abnormal"], "second_reader", "abnormal", "B"),
        (["A case_normal", "B case_abnormal", "C case_normal"], "reviewed", "normal", "C"),
        (["A case_normal", "C case_normal", "B case_abnormal"], "reviewed", "normal", "C"),
        (["A case_normal", "B case_abnormal", "A case_abnormal"], "reviewed", "abnormal", "A"),
        (["A second_reader", "B case_normal", "B case_reopened", "A case_normal"], "second_reader", "normal", "A"),
    ],
)
def test_states_and_verdicts(said: list[str], state: str, verdict: str | None, reviewer: str | None) -> None:
    outcome = fold(acts(*said))
    assert (outcome.state, outcome.verdict, outcome.reviewer) == (state, verdict, reviewer)
    assert outcome.settled_verdict == (verdict if state == "reviewed" else None)


def test_the_time_is_that_of_the_verdict_and_not_of_what_came_after() -> None:
    outcome = fold(acts("A case_normal", "B read_abnormal", ("B accepted f1", {"before": SMALL})))
    assert (outcome.reviewer, outcome.utc) == ("A", START)
    assert outcome.own_verdict == "abnormal"


def by_definition(events: list[ReviewEvent]) -> tuple[str, str | None]:
    """State and last standing verdict, each looked up anew in the whole history."""
    reopened = max((at for at, event in enumerate(events) if event.action == "case_reopened"), default=-1)
    said = {"case_normal": "normal", "case_abnormal": "abnormal"}
    verdicts = [(at, event) for at, event in enumerate(events) if event.action in said and at > reopened]
    last = {event.reviewer: said[event.action] for _, event in verdicts}
    normal, abnormal = list(last.values()).count("normal"), list(last.values()).count("abnormal")
    asks = [(at, e) for at, e in enumerate(events) if e.action in {"second_reader", "second_reader_withdrawn"}]
    pending = False
    if asks and asks[-1][1].action == "second_reader":
        at, asked = asks[-1]
        pending = not any(when > at and event.reviewer != asked.reviewer for when, event in verdicts)
    if not events:
        return "new", None
    if pending or (last and normal == abnormal):
        return "second_reader", None
    if not last:
        return "in_review", None
    return "reviewed", "normal" if normal > abnormal else "abnormal"


CASE_ACTS = ("case_normal", "case_abnormal", "case_reopened", "second_reader", "second_reader_withdrawn", "read_normal")


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(CASE_ACTS)), max_size=9))
def test_any_history_comes_to_what_the_definition_says(history: list[tuple[str, str]]) -> None:
    events = acts(*(f"{reviewer} {action}" for reviewer, action in history))
    outcome = fold(events)
    assert (outcome.state, outcome.settled_verdict) == by_definition(events)


def only(outcome: CaseOutcome) -> Any:
    (finding,) = outcome.findings
    return finding


def test_a_finding_is_followed_through_its_review() -> None:
    history = [
        ("A rejected f1", {"before": SMALL, "reason": "artefact"}),
        "B reopened f1",
        ("B edited f1", {"before": SMALL, "after": LARGE}),
        ("A reopened f1", {"after": SMALL}),
        "C accepted f1",
    ]
    told = [only(fold(acts(*history[:length]))) for length in range(1, 6)]
    assert [one.status for one in told] == ["rejected", "open", "accepted", "open", "accepted"]
    assert [one.reason for one in told] == ["artefact", None, None, None, None]
    assert [one.row for one in told] == [SMALL, SMALL, LARGE, SMALL, SMALL]
    assert [one.edited for one in told] == [False, False, True, False, False]
    assert [one.reviewer for one in told] == ["A", "B", "B", "A", "C"]
    assert [one.utc for one in told] == [START + timedelta(minutes=number) for number in range(5)]
    assert all(one.original == SMALL and not one.user_made for one in told)
    assert told[2].box == ((1, 2, 3), (7, 8, 9))


def test_an_added_finding_can_be_withdrawn_and_added_again() -> None:
    added = ("A added f1", {"after": SMALL})
    assert only(fold(acts(added))).user_made
    gone = fold(acts(added, "A withdrawn f1"))
    assert (gone.findings, gone.state) == ((), "in_review")
    again = only(fold(acts(added, "A withdrawn f1", ("B added f1", {"after": LARGE}))))
    assert (again.original, again.edited, again.reviewer) == (LARGE, False, "B")


def test_accepted_findings_are_those_that_were_not_rejected_in_the_end() -> None:
    outcome = fold(
        acts(
            ("A accepted f1", {"before": SMALL}),
            ("A accepted f2", {"before": LARGE}),
            ("A added f3", {"after": SMALL}),
            "A rejected f1",
        )
    )
    assert [one.finding_id for one in outcome.accepted] == ["f2", "f3"]
    assert [one.row for one in outcome.findings] == [SMALL, LARGE, SMALL]


@pytest.mark.parametrize(
    "row",
    [None, {}, {"index_min": [1, 2], "index_max": [3, 4]}, {"index_min": [1, 2, 3], "index_max": [0, 5, 6]}],
)
@pytest.mark.parametrize("index", [[1.5, 2, 3], [True, 2, 3], "1,2,3"])
def test_rows_without_a_box_have_none(row: dict[str, Any] | None, index: object) -> None:
    assert only(fold(acts(("A accepted f1", {"before": row})))).box is None
    assert only(fold(acts(("A accepted f1", {"before": {**SMALL, "index_min": index}})))).box is None


def test_the_last_mask_counts() -> None:
    masks = [("A segmented", {"after": {"mask_sha256": digit * 64, "finding_ids": ["f1"]}}) for digit in "ab"]
    outcome = fold(acts(*masks, "A case_abnormal"))
    assert outcome.segmentation is not None
    assert (outcome.segmentation.mask_sha256, outcome.segmentation.finding_ids) == ("b" * 64, ("f1",))


def test_an_undone_event_stays_and_what_undid_it_says_so() -> None:
    first = acts("A case_normal")
    undo = event_of(Review(reviewer="A", action="case_reopened", undoes=first[0].event_id), "head", None)
    assert isinstance(undo.undoes, uuid.UUID)
    assert fold([*first, undo]).state == "in_review"
