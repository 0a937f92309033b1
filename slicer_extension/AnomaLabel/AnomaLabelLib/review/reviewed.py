"""A case as readers left it: its findings, who says what of it, and the corrected mask."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from ..server.report import Finding

OPEN, ACCEPTED, REJECTED = "open", "accepted", "rejected"
NORMAL, ABNORMAL = "normal", "abnormal"
NEW, IN_REVIEW, SECOND_READER, REVIEWED = "new", "in_review", "second_reader", "reviewed"


@dataclass(frozen=True)
class ReviewedFinding:
    """A finding as its last event left it.

    Args:
        status: "open", "accepted" or "rejected".
        finding: as it is now, None where no event told its box.
        original: as it was first told.
        reason: why it is rejected, None otherwise or where nobody said.
        user_made: whether a reader drew it.
        reviewer, utc: of the last event.
        method: which one found it, "" where none did.
        origin: "model", "box" or "segment", "" where nobody said.
    """

    id: str
    status: str
    finding: Finding | None
    original: Finding | None
    reason: str | None = None
    user_made: bool = False
    reviewer: str = ""
    utc: datetime | None = None
    method: str = ""
    origin: str = ""

    @property
    def edited(self) -> bool:
        """Whether its box is another than at first."""
        now, first = self.finding, self.original
        if now is None or first is None:
            return False
        return (now.index_min, now.index_max) != (first.index_min, first.index_max)


@dataclass(frozen=True)
class Statement:
    """What one reader says of the whole case: "normal" or "abnormal"."""

    reviewer: str
    verdict: str
    utc: datetime | None = None


@dataclass(frozen=True)
class Segmentation:
    """The last corrected mask: its content, the findings it marks and the names of its segments."""

    mask_sha256: str
    finding_ids: tuple[str, ...]
    segments: tuple[str, ...]
    reviewer: str
    utc: datetime | None


@dataclass(frozen=True)
class CaseReview:
    """A case as its events left it.

    Args:
        findings: in the order in which they were first named; withdrawn ones are gone.
        verdict: "normal", "abnormal" or None: of several readers what most of them say, of as many on either side
            what was said last.
        verdict_by, verdict_utc: who said that last, and when.
        own_verdict: what the last reader thought before the hint was shown; says nothing of the verdict.
        second_reader: whether one is asked for and has not spoken.
        segmentation: the last corrected mask.
        reviewers: who acted, in the order of their first acts.
        notes: what of the events could not be understood, for people.
        standing: the verdict of each reader that stands, in the order in which they were said.
        own_verdicts: of each reader.
        requested_by: who last asked for a second reader, None where nobody did or the request was withdrawn.
    """

    findings: tuple[ReviewedFinding, ...] = ()
    verdict: str | None = None
    verdict_by: str | None = None
    verdict_utc: datetime | None = None
    own_verdict: str | None = None
    second_reader: bool = False
    segmentation: Segmentation | None = None
    reviewers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    standing: tuple[Statement, ...] = ()
    own_verdicts: tuple[Statement, ...] = ()
    requested_by: str | None = None

    @property
    def state(self) -> str:
        """ "new", "in_review", "second_reader" (asked for, or the readers differ) or "reviewed"."""
        if self.second_reader or (self.standing and majority(self.standing) is None):
            return SECOND_READER
        if self.standing:
            return REVIEWED
        return IN_REVIEW if self.reviewers else NEW

    def find(self, finding_id: str) -> ReviewedFinding | None:
        """A finding by its id, None where nobody has said anything of it."""
        return next((each for each in self.findings if each.id == finding_id), None)

    def verdict_of(self, reviewer: str) -> str | None:
        """What one reader says of the case, where that stands."""
        return next((each.verdict for each in self.standing if each.reviewer == reviewer), None)

    def own_verdict_of(self, reviewer: str) -> str | None:
        """What one reader thought before the hint was shown."""
        return next((each.verdict for each in self.own_verdicts if each.reviewer == reviewer), None)


def majority(standing: tuple[Statement, ...]) -> str | None:
    """What most readers say, None where as many say one as the other."""
    votes = Counter(each.verdict for each in standing)
    if votes[NORMAL] == votes[ABNORMAL]:
        return None
    return NORMAL if votes[NORMAL] > votes[ABNORMAL] else ABNORMAL
