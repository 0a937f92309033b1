"""What the table shows: the findings that readers reviewed, joined with those of a run."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..server.report import Finding, Index
from .reviewed import OPEN, REJECTED, CaseReview, ReviewedFinding
from .row import MODEL

REJECTED_OVERLAP = 0.5
KNOWN_OVERLAP = 0.3
MUCH_LARGER = 3.0
"""A box so many times as large as another may hold several findings, and says nothing about each of them."""


@dataclass(frozen=True)
class ShownFinding:
    """A finding as the table shows it.

    Args:
        finding: with the box as readers left it.
        status: "open", "accepted" or "rejected".
        method: which one found it, "" for one that a reader made.
        reason: why it is rejected, None otherwise or where nobody said.
        as_before: id of the finding of an earlier run that was rejected in the same place, None where the status is
            its own.
        reviewed: whether an event is kept about it.
        user_made: whether a reader drew it.
        edited: whether its box is another than at first.
        reviewer, utc: of its last event.
        origin: "model", "box" or "segment", "" where nobody said.
    """

    finding: Finding
    status: str = OPEN
    method: str = ""
    reason: str | None = None
    as_before: str | None = None
    reviewed: bool = False
    user_made: bool = False
    edited: bool = False
    reviewer: str = ""
    utc: datetime | None = None
    origin: str = ""


def shown_findings(
    case: CaseReview, run_findings: Sequence[Finding], method: str, of_run: Collection[str] = ()
) -> tuple[ShownFinding, ...]:
    """The reviewed findings, as they stand, then those of a run that are new.

    A run's finding of a known id is the reviewed one. Else it is compared with the reviewed findings of other runs and
    of readers; two of one run are never the same. One whose box overlaps a finding that stands (accepted, drawn by a
    reader, or reopened) by 0.3, or whose peak lies inside one that is not much larger, is that one and not shown a
    second time. One that overlaps a rejected one by 0.5 is shown as rejected, as before. Overlaps are intersection
    over union in voxels.

    Args:
        run_findings: of one result, on the grid that the reviewed boxes are on.
        method: of that result.
        of_run: ids of further findings of that result, which the present threshold does not show.

    Returns:
        Each id once; time grows with the findings times those that lie at the same place.
    """
    from_run = {finding.id: finding for finding in run_findings}
    boxes = {each.id: each.finding or from_run.get(each.id) for each in case.findings}
    reviewed = [_as_reviewed(each, boxes[each.id], method) for each in case.findings if boxes[each.id] is not None]
    others = [each for each in reviewed if each.finding.id not in from_run and each.finding.id not in of_run]
    standing = _Boxes(each.finding for each in others if each.status != REJECTED)
    rejected = _Boxes(each.finding for each in others if each.status == REJECTED)
    reasons = {each.finding.id: each.reason for each in reviewed}
    fresh = []
    for finding in from_run.values():
        if finding.id in boxes or standing.same_place(finding) is not None:
            continue
        before = rejected.most_like(finding, REJECTED_OVERLAP)
        if before is None:
            fresh.append(ShownFinding(finding, method=method, origin=MODEL))
        else:
            fresh.append(
                ShownFinding(finding, REJECTED, method, reason=reasons[before.id], as_before=before.id, origin=MODEL)
            )
    return (*reviewed, *fresh)


def overlap(first: Finding, second: Finding) -> float:
    """Intersection over union of two boxes, in voxels; in [0, 1]."""
    shared = 1
    for low_a, high_a, low_b, high_b in zip(
        first.index_min, first.index_max, second.index_min, second.index_max, strict=True
    ):
        shared *= max(0, min(high_a, high_b) - max(low_a, low_b) + 1)
    return shared / (_voxels(first) + _voxels(second) - shared)


class _Boxes:
    """Boxes sorted along their longest spread, so that only those in reach are compared."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        found = list(findings)
        self._axis = max(range(3), key=lambda axis: _spread(found, axis))
        self._found = sorted(found, key=lambda finding: finding.index_min[self._axis])
        self._lows = [finding.index_min[self._axis] for finding in self._found]
        self._longest = max((self._high(finding) - self._low(finding) for finding in found), default=0)

    def same_place(self, finding: Finding) -> Finding | None:
        """The first that holds the finding's peak without being much larger, or overlaps it well enough."""
        for known in self._in_reach(finding):
            alike = _voxels(known) <= MUCH_LARGER * _voxels(finding)
            if (alike and _holds(known, finding.peak_index)) or overlap(known, finding) >= KNOWN_OVERLAP:
                return known
        return None

    def most_like(self, finding: Finding, least: float) -> Finding | None:
        """The one that overlaps most and at least by `least`."""
        best = max(self._in_reach(finding), key=lambda known: overlap(known, finding), default=None)
        return best if best is not None and overlap(best, finding) >= least else None

    def _in_reach(self, finding: Finding) -> list[Finding]:
        start = bisect_left(self._lows, self._low(finding) - self._longest)
        end = bisect_right(self._lows, self._high(finding))
        return [known for known in self._found[start:end] if _touch(known, finding)]

    def _low(self, finding: Finding) -> int:
        return finding.index_min[self._axis]

    def _high(self, finding: Finding) -> int:
        return finding.index_max[self._axis]


def _as_reviewed(each: ReviewedFinding, finding: Finding, method: str) -> ShownFinding:
    return ShownFinding(
        finding=finding,
        status=each.status,
        method=each.method if each.finding is not None else method,
        reason=each.reason,
        reviewed=True,
        user_made=each.user_made,
        edited=each.edited,
        reviewer=each.reviewer,
        utc=each.utc,
        origin=each.origin,
    )


def _spread(found: list[Finding], axis: int) -> int:
    lows = [finding.index_min[axis] for finding in found]
    return max(lows) - min(lows) if lows else 0


def _touch(first: Finding, second: Finding) -> bool:
    a, b, c = first.index_min
    d, e, f = first.index_max
    u, v, w = second.index_min
    x, y, z = second.index_max
    return a <= x and u <= d and b <= y and v <= e and c <= z and w <= f


def _holds(box: Finding, place: Index) -> bool:
    return all(low <= value <= high for low, value, high in zip(box.index_min, place, box.index_max, strict=True))


def _voxels(finding: Finding) -> int:
    return math.prod(high - low + 1 for low, high in zip(finding.index_min, finding.index_max, strict=True))
