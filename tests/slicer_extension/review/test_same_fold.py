"""Panel and server make the same of the same events."""

from __future__ import annotations

from AnomaLabelLib.review.case import fold
from AnomaLabelLib.review.event import parse_event
from hypothesis import given, settings
from hypothesis import strategies as st
from review_examples import START, event, row

from monailabel_app.reviews.event import Review, ReviewEvent
from monailabel_app.reviews.outcome import fold as server_fold

NAMES = ("a", "b", "c")
rows = st.builds(
    lambda width, method: {**row(low=(10, 20, 30), high=(10 + width, 29, 39)), **method},
    st.integers(9, 11),
    st.sampled_from([{}, {"method": "few_shot"}, {"origin": "box"}, {"score": None, "mean_score": None}]),
)


@st.composite
def events(draw):
    action = draw(
        st.sampled_from(
            [
                *("accepted", "rejected", "edited", "added", "reopened", "withdrawn") * 2,
                *("case_normal", "case_abnormal", "case_reopened", "second_reader", "second_reader_withdrawn"),
                *("read_normal", "read_abnormal", "segmented"),
            ]
        )
    )
    values = {"reviewer": draw(st.sampled_from(["anna", "ben", "cleo"])), "minute": draw(st.integers(0, 500))}
    if action == "segmented":
        digit = draw(st.sampled_from("12"))
        values["after"] = {"mask_sha256": digit * 64, "finding_ids": list(NAMES), "segments": [digit]}
    elif action in {"accepted", "rejected", "edited", "added", "reopened", "withdrawn"}:
        values["finding_id"] = name = draw(st.sampled_from(NAMES))
        told, before, after = {"id": name}, draw(st.none() | rows), draw(st.none() | rows)
        if action == "edited":
            before, after = before or row(), after or row()
        if action == "added":
            before, after = None, after or row()
        if action == "withdrawn":
            after = None
        values["before"] = before and {**before, **told}
        values["after"] = after and {**after, **told}
        if action == "rejected":
            values["reason"] = draw(st.sampled_from([None, "vessel"]))
    return event(action, **values)


def as_served(sent) -> ReviewEvent:
    """The event as the server keeps it."""
    body = Review.model_validate(sent.to_body()).model_dump()
    return ReviewEvent(**body, utc=START, image=sent.image, previous_sha256=None)


@settings(max_examples=150, deadline=None)
@given(st.lists(events(), max_size=14))
def test_the_same_events_come_to_the_same(sent):
    kept = [as_served(each) for each in sent]
    theirs = server_fold(kept)
    for ours in (fold(sent), fold([parse_event(each.model_dump(mode="json")) for each in kept])):
        assert (ours.state, ours.verdict, ours.own_verdict) == (theirs.state, theirs.verdict, theirs.own_verdict)
        assert ours.second_reader == theirs.second_reader
        if ours.verdict is not None:
            assert (ours.verdict_by, ours.verdict_utc) == (theirs.reviewer, theirs.utc)
        assert [each.id for each in ours.findings] == [each.finding_id for each in theirs.findings]
        for mine, other in zip(ours.findings, theirs.findings, strict=True):
            assert (mine.status, mine.reason, mine.user_made) == (other.status, other.reason, other.user_made)
            assert (mine.reviewer, mine.utc, mine.edited) == (other.reviewer, other.utc, other.edited)
            assert box_of(mine.finding) == (other.row and (other.row["index_min"], other.row["index_max"]))
            assert box_of(mine.original) == (
                other.original and (other.original["index_min"], other.original["index_max"])
            )
            assert mine.method == ((other.row or {}).get("method") or "")
            assert mine.origin == ((other.row or {}).get("origin") or "")
        assert (ours.segmentation and ours.segmentation.mask_sha256) == (
            theirs.segmentation and theirs.segmentation.mask_sha256
        )


def box_of(finding):
    """Corners as a row holds them."""
    return finding and (list(finding.index_min), list(finding.index_max))
