"""Reviewed findings against those of a run."""

from __future__ import annotations

import numpy as np
import pytest
from AnomaLabelLib.review.case import fold
from AnomaLabelLib.review.matching import overlap, shown_findings
from AnomaLabelLib.review.reviewed import CaseReview
from hypothesis import given, settings
from hypothesis import strategies as st
from review_examples import event, finding, row

ACCEPTED = fold([event("accepted", "a", before=row())])
REJECTED = fold([event("rejected", "a", before=row(), reason="vessel")])


def told(case, *run):
    """(id, status, reviewed, as before) of each shown finding."""
    return [
        (each.finding.id, each.status, each.reviewed, each.as_before) for each in shown_findings(case, run, "few_shot")
    ]


def test_a_run_on_a_new_case_is_open():
    (only,) = shown_findings(CaseReview(), [finding()], "few_shot")
    assert (only.finding, only.status, only.method, only.origin) == (finding(), "open", "few_shot", "model")
    assert not only.reviewed


def test_reviewed_findings_stand_without_any_run():
    case = fold([event("accepted", "a", before=row()), event("added", "b", after=row("b", origin="box"))])
    assert told(case) == [("a", "accepted", True, None), ("b", "accepted", True, None)]
    assert [each.user_made for each in shown_findings(case, [], "")] == [False, True]


def test_a_known_finding_keeps_the_readers_box_and_its_method():
    case = fold([event("edited", "a", before=row(), after=row(low=(8, 20, 30)), reviewer="ben")])
    (only,) = shown_findings(case, [finding("a", label="other")], "few_shot")
    assert (only.finding.index_min, only.finding.label) == ((8, 20, 30), "anomaly a")
    assert (only.method, only.edited, only.reviewer, only.reviewed) == ("clap", True, "ben", True)


def test_a_status_without_a_box_takes_the_runs():
    case = fold([event("rejected", "a", reason="vessel")])
    (only,) = shown_findings(case, [finding()], "few_shot")
    assert (only.finding, only.status, only.reason, only.method) == (finding(), "rejected", "vessel", "few_shot")
    assert told(case) == []


# 10 x 10 x 10 voxels from (10, 20, 30) on; moved along i by n, n below 10, they share (10 - n) / (10 + n).
@pytest.mark.parametrize(("moved", "share"), [(0, 1), (3, 7 / 13), (4, 6 / 14), (5, 5 / 15), (6, 4 / 16), (10, 0)])
def test_the_overlap_of_a_box_moved_along_one_axis(moved, share):
    assert overlap(finding(), finding("b", (10 + moved, 20, 30), (19 + moved, 29, 39))) == pytest.approx(share)


def moved(by, peak=None):
    """The example's box moved along i, its peak at the far end."""
    low, high = (10 + by, 20, 30), (19 + by, 29, 39)
    return finding("new", low, high, peak_index=peak or high)


@pytest.mark.parametrize(
    ("by", "known"),
    [(0, True), (5, True), (6, False)],
)
def test_what_overlaps_an_accepted_finding_is_not_shown_twice(by, known):
    shown = [("a", "accepted", True, None)]
    assert told(ACCEPTED, moved(by)) == (shown if known else [*shown, ("new", "open", False, None)])


def test_what_peaks_inside_an_accepted_finding_is_that_one():
    assert told(ACCEPTED, moved(9, peak=(19, 20, 30))) == [("a", "accepted", True, None)]
    assert len(told(ACCEPTED, moved(9, peak=(20, 20, 30)))) == 2


@pytest.mark.parametrize(("by", "as_before"), [(0, True), (3, True), (4, False)])
def test_what_was_rejected_in_the_same_place_is_rejected_as_before(by, as_before):
    last = ("new", "rejected", False, "a") if as_before else ("new", "open", False, None)
    assert told(REJECTED, moved(by)) == [("a", "rejected", True, None), last]
    assert shown_findings(REJECTED, [moved(by)], "few_shot")[1].reason == ("vessel" if as_before else None)


def test_what_overlaps_an_accepted_and_a_rejected_finding_is_the_accepted_one():
    both = fold([event("rejected", "r", before=row("r")), event("accepted", "a", before=row())])
    assert [each[0] for each in told(both, moved(1))] == ["r", "a"]


def test_a_reopened_finding_stands_too():
    case = fold([event("accepted", "a", before=row()), event("reopened", "a")])
    assert told(case, moved(2)) == [("a", "open", True, None)]


def slow(case, run):
    """The rule written down plainly."""
    ids = {each.id for each in case.findings}
    lines = [(each.id, each.status, True, None) for each in case.findings]
    for new in run:
        if new.id in ids:
            continue
        masks = {}
        for each in (new, *(known.finding for known in case.findings)):
            mask = np.zeros((24, 24, 24), bool)
            mask[tuple(slice(low, high + 1) for low, high in zip(each.index_min, each.index_max, strict=True))] = True
            masks[each.id] = mask
        shares = {
            each.id: (masks[each.id] & masks[new.id]).sum() / (masks[each.id] | masks[new.id]).sum()
            for each in case.findings
        }
        stands = [each for each in case.findings if each.status != "rejected"]
        if any(
            shares[each.id] >= 0.3
            or (masks[each.id][new.peak_index] and masks[each.id].sum() <= 3 * masks[new.id].sum())
            for each in stands
        ):
            continue
        before = [each for each in case.findings if each.status == "rejected" and shares[each.id] >= 0.5]
        lines.append((new.id, "rejected" if before else "open", False))
    return [line[:3] for line in lines]


corners = st.tuples(*[st.tuples(st.integers(0, 11), st.integers(0, 12))] * 3)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(corners, st.sampled_from(["accepted", "rejected", "reopened"])), max_size=5),
    st.lists(corners, max_size=5),
)
def test_it_is_as_the_plain_rule_says(reviewed, run):
    def box(name, corner):
        low, high = [a for a, _size in corner], [a + size for a, size in corner]
        return finding(name, low, high, peak_index=tuple(low)), row(name, low, high)

    case = fold(
        event(
            action,
            f"r{place}",
            after=box(f"r{place}", corner)[1] if action != "rejected" else None,
            before=box(f"r{place}", corner)[1],
        )
        for place, (corner, action) in enumerate(reviewed)
    )
    found = [box(f"n{place}", corner)[0] for place, corner in enumerate(run)]
    assert [line[:3] for line in told(case, *found)] == slow(case, found)


def test_a_large_box_does_not_swallow_the_findings_inside_it():
    large = fold([event("accepted", "a", before=row("a", (0, 0, 0), (99, 99, 99)))])
    small = finding("new", (10, 20, 30), (19, 29, 39))
    assert told(large, small) == [("a", "accepted", True, None), ("new", "open", False, None)]


def test_findings_of_one_run_are_never_each_other():
    beside = moved(2)
    same = finding("a", (10, 20, 30), (19, 29, 39))
    expected = [("a", "accepted", True, None), ("new", "open", False, None)]
    assert told(ACCEPTED, same, beside) == expected
    shown = shown_findings(ACCEPTED, [beside], "few_shot", of_run={"a", "new"})
    assert [(each.finding.id, each.status) for each in shown] == [("a", "accepted"), ("new", "open")]
