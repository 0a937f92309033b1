"""What the events of a case say of each finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from monailabel_app.reviews.event import CASE_ACTIONS, ReviewEvent, State

FindingStatus = Literal["open", "accepted", "rejected"]

Index = tuple[int, int, int]
BOX_KEYS = ("index_min", "index_max")
STATUS: dict[str, FindingStatus] = {
    "accepted": "accepted",
    "edited": "accepted",
    "added": "accepted",
    "rejected": "rejected",
    "reopened": "open",
}


@dataclass(frozen=True)
class FindingOutcome:
    """One finding as its last event left it.

    Args:
        finding_id: as the clients name it.
        status: open, accepted or rejected.
        row: the finding as it is now, None where no event told it.
        original: the first row that was told.
        user_made: whether a reviewer drew it.
        reason: why it is rejected, None otherwise or where nobody said.
        reviewer: of the last event.
        utc: when that was.
    """

    finding_id: str
    status: FindingStatus
    row: State | None
    original: State | None
    user_made: bool
    reason: str | None
    reviewer: str
    utc: datetime

    @property
    def edited(self) -> bool:
        """Whether its box is another than at first."""
        if self.row is None or self.original is None:
            return False
        return any(self.row.get(key) != self.original.get(key) for key in BOX_KEYS)

    @property
    def box(self) -> tuple[Index, Index] | None:
        """Smallest and largest (inclusive) voxel index (i, j, k); None where the row holds no such box."""
        low, high = (_index(self.row, key) for key in BOX_KEYS)
        if low is None or high is None or any(first > last for first, last in zip(low, high, strict=True)):
            return None
        return low, high


def fold_findings(events: Iterable[ReviewEvent]) -> tuple[FindingOutcome, ...]:
    """Every finding that the events name and that is not withdrawn, in the order in which they were first named.

    Args:
        events: of one image, oldest first.
    """
    findings: dict[str, FindingOutcome] = {}
    for event in events:
        if event.action in CASE_ACTIONS or event.finding_id is None:
            continue
        if event.action == "withdrawn":
            findings.pop(event.finding_id, None)
        else:
            findings[event.finding_id] = _after(findings.get(event.finding_id), event, event.finding_id)
    return tuple(findings.values())


def _after(known: FindingOutcome | None, event: ReviewEvent, finding_id: str) -> FindingOutcome:
    if known is None:
        first = event.before or event.after
        known = FindingOutcome(finding_id, "open", first, first, False, None, event.reviewer, event.happened_utc)
    # A rejected finding stays what it was; what a client sends beside the rejection is what it showed.
    row = known.row if event.action == "rejected" else event.after or _before_acceptance(event) or known.row
    return replace(
        known,
        status=STATUS[event.action],
        row=row,
        original=known.original or row,
        user_made=known.user_made or event.action == "added",
        reason=event.reason,
        reviewer=event.reviewer,
        utc=event.happened_utc,
    )


def _before_acceptance(event: ReviewEvent) -> State | None:
    return event.before if event.action == "accepted" else None


def _index(row: State | None, key: str) -> Index | None:
    value = None if row is None else row.get(key)
    if not isinstance(value, list) or len(value) != 3:
        return None
    numbers = [number for number in value if isinstance(number, int) and not isinstance(number, bool)]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None
