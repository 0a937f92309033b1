"""What the events of a case come to; the server folds them the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import ReplyError
from ..server.report import Finding
from ..translation import _
from .event import FINDING_ACTIONS, OWN_VERDICTS, VERDICTS, ReviewEvent
from .reviewed import ACCEPTED, OPEN, REJECTED, CaseReview, ReviewedFinding, Segmentation, Statement, majority
from .row import Row, finding_of, method_of, origin_of

STATUS = {"accepted": ACCEPTED, "edited": ACCEPTED, "added": ACCEPTED, "rejected": REJECTED, "reopened": OPEN}
SHA256 = re.compile("[0-9a-f]{64}")


def fold(events: Iterable[ReviewEvent]) -> CaseReview:
    """What the events of one case, oldest first, come to.

    An action of a newer version, a row or a mask that cannot be read are passed over and told in `notes`: one bad
    event of another program must not keep a reader from the case.
    """
    case = CaseFold()
    for event in events:
        case.add(event)
    return case.result()


class CaseFold:
    """Takes events one by one, oldest first, and tells what they come to so far.

    Args:
        start: a case to go on from.
    """

    def __init__(self, start: CaseReview | None = None) -> None:
        start = start or CaseReview()
        self._findings = {each.id: each for each in start.findings}
        self._standing = {each.reviewer: each for each in start.standing}
        self._own = {each.reviewer: each for each in start.own_verdicts}
        self._own_verdict = start.own_verdict
        self._asked_by, self._answered = start.requested_by, not start.second_reader
        self._segmentation = start.segmentation
        self._reviewers = dict.fromkeys(start.reviewers)
        self._notes = dict.fromkeys(start.notes)

    def add(self, event: ReviewEvent) -> None:
        """Take the next event."""
        self._reviewers[event.reviewer] = None
        if event.action in FINDING_ACTIONS and event.finding_id is not None:
            self._add_to_finding(event, event.finding_id)
        elif event.action in OWN_VERDICTS:
            self._own_verdict = OWN_VERDICTS[event.action]
            self._own[event.reviewer] = Statement(event.reviewer, self._own_verdict, event.moment)
        elif event.action == "segmented":
            self._add_segmentation(event)
        elif not self._add_to_verdict(event):
            text = _("{reviewer} did something that this version does not know: {action}.")
            self._note(text.format(reviewer=event.reviewer, action=event.action[:40]))

    def finding(self, finding_id: str) -> ReviewedFinding | None:
        """A finding as it is by now."""
        return self._findings.get(finding_id)

    def result(self) -> CaseReview:
        """The case as it is by now."""
        standing = tuple(self._standing.values())
        said = _what_stands(standing)
        return CaseReview(
            findings=tuple(self._findings.values()),
            verdict=said.verdict if said else None,
            verdict_by=said.reviewer if said else None,
            verdict_utc=said.utc if said else None,
            own_verdict=self._own_verdict,
            second_reader=self._asked_by is not None and not self._answered,
            segmentation=self._segmentation,
            reviewers=tuple(self._reviewers),
            notes=tuple(self._notes),
            standing=standing,
            own_verdicts=tuple(self._own.values()),
            requested_by=self._asked_by,
        )

    def _add_to_finding(self, event: ReviewEvent, finding_id: str) -> None:
        if event.action == "withdrawn":
            self._findings.pop(finding_id, None)
            return
        known = self._findings.get(finding_id)
        if known is None:
            first = self._read(event.before or event.after, event)
            known = ReviewedFinding(finding_id, OPEN, first.finding, first.finding, method=first.method)
            known = replace(known, origin=first.origin)
        # A rejected finding stays what it was; what a client sends beside the rejection is what it showed.
        row = event.after or (event.before if event.action == "accepted" else None)
        told = _NOTHING if event.action == "rejected" else self._read(row, event)
        if told.finding is not None:
            known = replace(known, finding=told.finding, method=told.method, origin=told.origin)
        self._findings[finding_id] = replace(
            known,
            status=STATUS[event.action],
            original=known.original or known.finding,
            reason=event.reason,
            user_made=known.user_made or event.action == "added",
            reviewer=event.reviewer,
            utc=event.moment,
        )

    def _add_to_verdict(self, event: ReviewEvent) -> bool:
        if event.action in VERDICTS:
            # Taken out first, so that the order of the dictionary is that of the last words.
            self._standing.pop(event.reviewer, None)
            self._standing[event.reviewer] = Statement(event.reviewer, VERDICTS[event.action], event.moment)
            self._answered = self._answered or (self._asked_by is not None and event.reviewer != self._asked_by)
        elif event.action == "case_reopened":
            self._standing.clear()
            self._answered = False
        elif event.action == "second_reader":
            self._asked_by, self._answered = event.reviewer, False
        elif event.action == "second_reader_withdrawn":
            self._asked_by = None
        else:
            return False
        return True

    def _add_segmentation(self, event: ReviewEvent) -> None:
        said = event.after or {}
        sha256, finding_ids, segments = said.get("mask_sha256"), said.get("finding_ids"), said.get("segments")
        if isinstance(sha256, str) and SHA256.fullmatch(sha256) and _are_texts(finding_ids) and _are_texts(segments):
            self._segmentation = Segmentation(
                sha256, tuple(finding_ids or ()), tuple(segments or ()), event.reviewer, event.moment
            )
        else:
            self._note(
                _("A mask of {reviewer} is described in a way that cannot be read.").format(reviewer=event.reviewer)
            )

    def _read(self, row: Row | None, event: ReviewEvent) -> _Told:
        if not row:
            return _NOTHING
        try:
            finding = replace(finding_of(row), id=event.finding_id or "")
            return _Told(finding, method_of(row), origin_of(row))
        except ReplyError as error:
            self._note(f"{event.reviewer}: {error.cause}")
            return _NOTHING

    def _note(self, text: str) -> None:
        self._notes[text] = None


@dataclass(frozen=True)
class _Told:
    finding: Finding | None = None
    method: str = ""
    origin: str = ""


_NOTHING = _Told()


def _what_stands(standing: tuple[Statement, ...]) -> Statement | None:
    """The last statement that says what most readers say; without a majority, the last one."""
    most = majority(standing)
    agreeing = [each for each in standing if most is None or each.verdict == most]
    return agreeing[-1] if agreeing else None


def _are_texts(values: object) -> bool:
    return values is None or (isinstance(values, list) and all(isinstance(value, str) for value in values))
