"""What the events of an image say all together: its state, the verdict, its findings and the corrected mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from monailabel_app.reviews.event import OWN_VERDICTS, VERDICTS, ReviewEvent, Segmentation, Verdict
from monailabel_app.reviews.finding_outcome import FindingOutcome, fold_findings

CaseState = Literal["new", "in_review", "second_reader", "reviewed"]


@dataclass(frozen=True)
class CaseOutcome:
    """An image as its events left it.

    Args:
        state: new (no event), in_review (no verdict stands), second_reader (one was asked for and has not said
            anything, or the readers differ without a majority) or reviewed.
        verdict: what stands, whatever the state: of several readers what most of them say, of as many on either side
            what was said last.
        reviewer: who said that last; where no verdict stands, who acted last; None for a new image.
        utc: when that was.
        own_verdict: what the last reader thought before the model's hint was shown.
        second_reader: whether one is still asked for.
        findings: in the order in which they were first named; withdrawn ones are gone.
        segmentation: the last corrected mask.
    """

    state: CaseState = "new"
    verdict: Verdict | None = None
    reviewer: str | None = None
    utc: datetime | None = None
    own_verdict: Verdict | None = None
    second_reader: bool = False
    findings: tuple[FindingOutcome, ...] = ()
    segmentation: Segmentation | None = None

    @property
    def settled_verdict(self) -> Verdict | None:
        """The verdict of a reviewed image, which a model may learn from; None in any other state."""
        return self.verdict if self.state == "reviewed" else None

    @property
    def doubtful_as_healthy(self) -> bool:
        """Whether no model may learn health from it: it is called abnormal, or a second reading is pending."""
        return self.settled_verdict == "abnormal" or self.state == "second_reader"

    @property
    def accepted(self) -> tuple[FindingOutcome, ...]:
        """The accepted findings, user-made ones among them."""
        return tuple(finding for finding in self.findings if finding.status == "accepted")


def fold(events: Sequence[ReviewEvent]) -> CaseOutcome:
    """What the events of one image, oldest first, come to."""
    if not events:
        return CaseOutcome()
    standing: dict[str, ReviewEvent] = {}
    asked_by: str | None = None
    own_verdict: Verdict | None = None
    segmentation: Segmentation | None = None
    answered = False
    for event in events:
        if event.action in VERDICTS:
            # Taken out first, so that the order of the dictionary is that of the last words.
            standing.pop(event.reviewer, None)
            standing[event.reviewer] = event
            answered = answered or (asked_by is not None and event.reviewer != asked_by)
        elif event.action == "case_reopened":
            standing.clear()
            answered = False
        elif event.action == "second_reader":
            asked_by, answered = event.reviewer, False
        elif event.action == "second_reader_withdrawn":
            asked_by = None
        own_verdict = OWN_VERDICTS.get(event.action, own_verdict)
        segmentation = event.segmentation or segmentation
    pending = asked_by is not None and not answered
    said = _what_stands(list(standing.values()))
    last = said or events[-1]
    return CaseOutcome(
        state=_state(pending, list(standing.values())),
        verdict=VERDICTS[said.action] if said else None,
        reviewer=last.reviewer,
        utc=last.happened_utc,
        own_verdict=own_verdict,
        second_reader=pending,
        findings=fold_findings(events),
        segmentation=segmentation,
    )


def _state(pending: bool, standing: list[ReviewEvent]) -> CaseState:
    if pending or (standing and _majority(standing) is None):
        return "second_reader"
    return "reviewed" if standing else "in_review"


def _what_stands(standing: list[ReviewEvent]) -> ReviewEvent | None:
    """The last event that says what most readers say; without a majority, the last one."""
    majority = _majority(standing)
    agreeing = [event for event in standing if majority is None or VERDICTS[event.action] == majority]
    return agreeing[-1] if agreeing else None


def _majority(standing: list[ReviewEvent]) -> Verdict | None:
    votes = Counter(VERDICTS[event.action] for event in standing)
    if votes["normal"] == votes["abnormal"]:
        return None
    return "normal" if votes["normal"] > votes["abnormal"] else "abnormal"
