"""The order of the findings table."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .matching import ShownFinding
from .reviewed import ACCEPTED, OPEN, REJECTED

STATUS_ORDER = {OPEN: 0, ACCEPTED: 1, REJECTED: 2}

Key = Callable[[ShownFinding], object]

KEYS: dict[str, Key] = {
    "score": lambda shown: shown.finding.score,
    "uncertainty": lambda shown: shown.finding.uncertainty,
    "volume": lambda shown: shown.finding.volume_mm3,
    "slice": lambda shown: shown.finding.peak_index[2],
    "method": lambda shown: shown.method.casefold() or None,
    "status": lambda shown: STATUS_ORDER.get(shown.status),
}
"""The value of a finding in each column, None where it has none."""


def sorted_findings(shown: Iterable[ShownFinding], column: str, descending: bool = False) -> tuple[ShownFinding, ...]:
    """Findings in the order of a column; equal ones stay as they were, those without a value come last either way.

    Args:
        column: one of `KEYS`; any other leaves the order as it is.
    """
    key = KEYS.get(column)
    if key is None:
        return tuple(shown)
    found = list(shown)
    known = [each for each in found if key(each) is not None]
    return (*sorted(known, key=key, reverse=descending), *(each for each in found if key(each) is None))
