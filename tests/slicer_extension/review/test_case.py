"""What events come to, by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from AnomaLabelLib.review.case import CaseFold, fold
from AnomaLabelLib.review.reviewed import CaseReview
from review_examples import START, event, finding, row

WIDER = {"low": (8, 20, 30), "high": (19, 29, 39)}


def test_nothing_said_is_a_new_case():
    assert fold([]) == CaseReview()
    assert CaseReview().state == "new"


def test_an_accepted_finding_is_as_it_was_told():
    case = fold([event("accepted", "a", minute=3, before=row())])
    (known,) = case.findings
    assert (known.id, known.status, known.finding, known.original) == ("a", "accepted", finding(), finding())
    assert (known.reviewer, known.utc) == ("anna", START + timedelta(minutes=3))
    assert (known.method, known.origin, known.user_made, known.edited) == ("clap", "model", False, False)
    assert case.state == "in_review"
    assert case.reviewers == ("anna",)


def test_an_edit_accepts_another_box_and_remembers_the_first():
    known = fold([event("edited", "a", before=row(), after=row(**WIDER))]).find("a")
    assert (known.status, known.edited) == ("accepted", True)
    assert (known.finding.index_min, known.original.index_min) == ((8, 20, 30), (10, 20, 30))


def test_a_rejection_keeps_the_box_and_reopening_drops_the_reason():
    rejected = event("rejected", "a", before=row(), after=row(**WIDER), reason="vessel")
    known = fold([rejected]).find("a")
    assert (known.status, known.reason, known.finding) == ("rejected", "vessel", finding())
    known = fold([rejected, event("reopened", "a")]).find("a")
    assert (known.status, known.reason, known.finding) == ("open", None, finding())


def test_reopening_may_name_the_box_to_go_back_to():
    edited = event("edited", "a", before=row(), after=row(**WIDER))
    assert fold([edited, event("reopened", "a")]).find("a").edited
    assert not fold([edited, event("reopened", "a", after=row())]).find("a").edited


def test_a_withdrawn_finding_is_gone_and_one_added_again_comes_last():
    added = event("added", "b", after=row("b", origin="box"))
    other = event("accepted", "a", before=row())
    gone = event("withdrawn", "b")
    assert [each.id for each in fold([added, other]).findings] == ["b", "a"]
    assert [each.id for each in fold([added, other, gone]).findings] == ["a"]
    case = fold([added, other, gone, added])
    assert [(each.id, each.user_made, each.origin) for each in case.findings] == [
        ("a", False, "model"),
        ("b", True, "box"),
    ]


def test_the_verdict_is_what_most_readers_say():
    said = [event("case_normal"), event("case_abnormal", minute=1, reviewer="ben")]
    case = fold(said)
    assert (case.verdict, case.verdict_by, case.state) == ("abnormal", "ben", "second_reader")
    case = fold([*said, event("case_normal", minute=2, reviewer="cleo")])
    assert (case.verdict, case.verdict_by, case.state) == ("normal", "cleo", "reviewed")
    assert case.verdict_utc == START + timedelta(minutes=2)
    assert (case.verdict_of("ben"), case.verdict_of("dora")) == ("abnormal", None)


def test_who_changes_their_mind_counts_once():
    case = fold([event("case_normal"), event("case_abnormal", minute=1)])
    assert (case.verdict, case.state, len(case.standing)) == ("abnormal", "reviewed", 1)


def test_reopening_the_case_withdraws_every_verdict():
    case = fold([event("case_normal"), event("case_normal", reviewer="ben"), event("case_reopened")])
    assert (case.verdict, case.standing, case.state) == (None, (), "in_review")


@pytest.mark.parametrize(
    ("actions", "pending"),
    [
        ([("second_reader", "anna")], True),
        ([("second_reader", "anna"), ("case_normal", "anna")], True),
        ([("second_reader", "anna"), ("case_normal", "ben")], False),
        ([("case_normal", "ben"), ("second_reader", "anna")], True),
        ([("second_reader", "anna"), ("case_normal", "ben"), ("case_reopened", "ben")], True),
        ([("second_reader", "anna"), ("second_reader_withdrawn", "ben")], False),
        ([("second_reader", "anna"), ("read_normal", "ben")], True),
    ],
)
def test_a_second_reader_is_asked_for_until_another_one_gives_a_verdict(actions, pending):
    case = fold([event(action, reviewer=reviewer) for action, reviewer in actions])
    assert case.second_reader is pending
    assert (case.state == "second_reader") is pending


def test_own_verdicts_are_no_verdicts_and_stay_with_their_reader():
    case = fold([event("read_abnormal"), event("read_normal", reviewer="ben")])
    assert (case.own_verdict, case.verdict, case.state) == ("normal", None, "in_review")
    assert [case.own_verdict_of(name) for name in ("anna", "ben", "cleo")] == ["abnormal", "normal", None]


def test_the_last_mask_counts():
    masks = [{"mask_sha256": digit * 64, "finding_ids": ["a"], "segments": ["Lesion"]} for digit in "12"]
    last = fold([event("segmented", after=mask) for mask in masks]).segmentation
    assert (last.mask_sha256, last.finding_ids, last.segments) == ("2" * 64, ("a",), ("Lesion",))


def test_what_cannot_be_understood_is_told_and_keeps_nobody_from_the_rest():
    case = fold(
        [
            event("praised", "a"),
            event("accepted", "b", before={"id": "b"}),
            event("segmented", after={"mask_sha256": "x"}),
            event("accepted", "a", before=row()),
        ]
    )
    assert [(each.id, each.status, each.finding) for each in case.findings] == [
        ("b", "accepted", None),
        ("a", "accepted", finding()),
    ]
    assert case.segmentation is None
    assert [part in note for part, note in zip(("praised", "axes_ras", "mask"), case.notes, strict=True)] == [True] * 3


def test_a_fold_goes_on_where_it_stopped():
    events = [
        event("second_reader"),
        event("edited", "a", before=row(), after=row(**WIDER)),
        event("case_abnormal", reviewer="ben"),
        event("case_reopened"),
        event("rejected", "a", reason="vessel"),
    ]
    for stop in range(len(events) + 1):
        case = CaseFold(fold(events[:stop]))
        for each in events[stop:]:
            case.add(each)
        assert case.result() == fold(events)
