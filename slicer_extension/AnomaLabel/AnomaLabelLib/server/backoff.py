"""How long to wait before a failed request is sent again."""

from __future__ import annotations

FIRST_S = 2.0
LONGEST_S = 60.0


def next_delay(previous_s: float) -> float:
    """Seconds to wait after a further failure: 2, 4, 8 and so on, at most 60.

    Args:
        previous_s: the wait before this failure, 0 where there was none.
    """
    return min(LONGEST_S, max(FIRST_S, 2 * previous_s))
