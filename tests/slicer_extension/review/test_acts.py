"""The event of each act, and which acts make no sense."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from AnomaLabelLib.errors import ActError, ReplyError
from AnomaLabelLib.review import acts
from AnomaLabelLib.review.case import fold
from AnomaLabelLib.review.reviewed import CaseReview
from review_examples import IMAGE, START, context, event, row, shown

from monailabel_app.reviews.event import Review

NEW = CaseReview()
WIDER = row(low=(8, 20, 30), high=(19, 29, 39))
ADDED = row("new", score=None, mean_score=None, origin="box")
DRAWN = fold([event("added", "new", after=ADDED)])
ACCEPTED = fold([event("accepted", "a", before=row())])
REJECTED = fold([event("rejected", "a", before=row(), reason="vessel")])
NORMAL = fold([event("case_normal")])
MASK = ("1" * 64, ("a",), ("Lesion",))

EVERY_ACT = {
    "accepted": lambda at: acts.accept(NEW, shown(), at),
    "rejected": lambda at: acts.reject(NEW, shown(), "vessel", at),
    "edited": lambda at: acts.edit(NEW, shown(), WIDER, at),
    "added": lambda at: acts.add(NEW, ADDED, at),
    "reopened": lambda at: acts.reopen(ACCEPTED, shown(), at),
    "withdrawn": lambda at: acts.withdraw(DRAWN, shown("new"), at),
    "case_normal": lambda at: acts.case_normal(NEW, at),
    "case_abnormal": lambda at: acts.case_abnormal(NEW, at),
    "case_reopened": lambda at: acts.case_reopen(NORMAL, at),
    "second_reader": lambda at: acts.second_reader(NEW, at),
    "second_reader_withdrawn": lambda at: acts.second_reader(fold([event("second_reader")]), at),
    "read_normal": lambda at: acts.read_first(NEW, "normal", at),
    "read_abnormal": lambda at: acts.read_first(NEW, "abnormal", at),
    "segmented": lambda at: acts.segmented(NEW, *MASK, at),
}


@pytest.mark.parametrize("action", EVERY_ACT)
def test_each_act_is_an_event_that_the_server_takes(action):
    made = EVERY_ACT[action](context())
    assert (made.action, made.image, made.reviewer, made.client) == (action, IMAGE, "anna", "AnomaLabel 1.0")
    assert (made.acted_utc, made.utc, made.undoes) == (START, None, None)
    assert uuid.UUID(made.event_id).version == 4
    taken = Review.model_validate(made.to_body())
    assert taken.findings_sha256 == "ab" * 32
    assert (taken.model.name, taken.prompts.positive) == ("embedded", ("Glioma",))


@pytest.mark.parametrize("action", EVERY_ACT)
def test_nobody_acts_without_a_name(action):
    with pytest.raises(ActError, match="who reviews"):
        EVERY_ACT[action](replace(context(), reviewer="  "))


def test_a_finding_is_told_as_it_was_shown():
    assert acts.accept(NEW, shown(), context()).before == row()
    edited = acts.edit(NEW, shown(), {key: value for key, value in WIDER.items() if key != "method"}, context())
    assert (edited.before, edited.after) == (row(), WIDER)


def test_a_reason_is_trimmed_and_may_be_missing():
    assert acts.reject(NEW, shown(), " vessel ", context()).reason == "vessel"
    assert acts.reject(NEW, shown(), "", context()).reason is None
    assert len(acts.reject(NEW, shown(), "x" * 200, context()).reason) == 200


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda at: acts.accept(ACCEPTED, shown(status="accepted"), at), "already"),
        (lambda at: acts.accept(NORMAL, shown(), at), "called normal by anna"),
        (lambda at: acts.reject(REJECTED, shown(status="rejected"), "vessel", at), "already"),
        (lambda at: acts.reject(NEW, shown(), "x" * 201, at), "201 characters"),
        (lambda at: acts.edit(NEW, shown(), row(), at), "same voxels"),
        (lambda at: acts.edit(NEW, shown("b"), WIDER, at), "another finding"),
        (lambda at: acts.edit(REJECTED, shown(status="rejected"), WIDER, at), "rejected"),
        (lambda at: acts.edit(NORMAL, shown(), WIDER, at), "called normal"),
        (lambda at: acts.add(DRAWN, ADDED, at), "already"),
        (lambda at: acts.add(NORMAL, ADDED, at), "called normal"),
        (lambda at: acts.withdraw(ACCEPTED, shown(status="accepted"), at), "not drawn"),
        (lambda at: acts.withdraw(NEW, shown(), at), "not drawn"),
        (lambda at: acts.reopen(NEW, shown(), at), "Nothing is decided"),
        (lambda at: acts.reopen(fold([event("reopened", "a", after=row())]), shown(), at), "Nothing is decided"),
        (lambda at: acts.case_normal(ACCEPTED, at), "1 findings"),
        (lambda at: acts.case_normal(NORMAL, at), "already"),
        (lambda at: acts.case_abnormal(fold([event("case_abnormal")]), at), "already"),
        (lambda at: acts.case_reopen(NEW, at), "No verdict"),
        (lambda at: acts.read_first(fold([event("read_normal")]), "abnormal", at), "on record already"),
        (lambda at: acts.segmented(NEW, MASK[0], (), (), at), "no segment"),
    ],
)
def test_an_act_without_sense_is_refused_with_cause_and_remedy(act, message):
    with pytest.raises(ActError, match=message) as caught:
        act(context())
    assert caught.value.remedy


def test_another_reader_may_say_the_same():
    assert acts.accept(ACCEPTED, shown(status="accepted"), context("ben")).reviewer == "ben"
    assert acts.reject(REJECTED, shown(status="rejected"), "vessel", context("ben")).reason == "vessel"
    assert acts.reject(REJECTED, shown(status="rejected"), "artefact", context()).reason == "artefact"
    assert acts.case_normal(NORMAL, context("ben")).action == "case_normal"
    assert acts.read_first(fold([event("read_normal")]), "normal", context("ben")).action == "read_normal"


def test_the_same_mask_is_sent_once():
    case = fold([acts.segmented(NEW, *MASK, context())])
    with pytest.raises(ActError, match="sent already"):
        acts.segmented(case, *MASK, context())
    assert acts.segmented(case, "2" * 64, *MASK[1:], context()).after["mask_sha256"] == "2" * 64


def test_what_is_no_hash_or_no_finding_is_refused():
    with pytest.raises(ValueError, match="SHA-256"):
        acts.segmented(NEW, "../x", *MASK[1:], context())
    with pytest.raises(ReplyError, match="peak"):
        acts.add(NEW, {**ADDED, "peak_index": [0, 0, 0]}, context())
