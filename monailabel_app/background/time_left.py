"""How long a stage of a long work will take, judged by its last steps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 120.0
"""Steps before that say nothing of the rate, except where there is only one later step."""

RESOLUTION_SECONDS = 0.25
"""Steps that are closer together are noted as one, so that fast ones fill no memory."""


@dataclass(frozen=True)
class _Noted:
    second: float
    done: int


class TimeLeft:
    """Watches the steps of one stage.

    The rate is that of the newest half of the steps seen, at most of the last `WINDOW_SECONDS`: a stage whose first
    steps load, compile or fill a cache is soon judged by the others, and a pause between epochs still counts.
    """

    def __init__(self) -> None:
        self._stage = ""
        self._total = 0
        self._first = 0
        self._noted: deque[_Noted] = deque()

    def note(self, stage: str, done: int, total: int, now: float) -> None:
        """Take note of a step.

        Args:
            stage: another one than before, or fewer steps done than before, starts anew.
            done, total: steps; total 0 where nobody knows.
            now: seconds of a clock that never goes back.
        """
        newest = self._noted[-1] if self._noted else None
        if newest is None or stage != self._stage or total != self._total or done < newest.done:
            self._stage, self._total, self._first = stage, total, done
            self._noted = deque([_Noted(now, done)])
            return
        if done == newest.done:
            return
        if len(self._noted) > 1 and newest.second - self._noted[-2].second < RESOLUTION_SECONDS:
            self._noted.pop()
        self._noted.append(_Noted(now, done))
        while len(self._noted) > 2 and self._noted[1].second <= now - WINDOW_SECONDS:
            self._noted.popleft()

    def seconds(self, now: float) -> float | None:
        """Seconds to the end of the stage, at least 0; None before its first step or where its total is unknown.

        Between two steps they go down by one step's worth at most: a step that takes longer than the others is not
        taken for the end.
        """
        if self._total <= 0 or len(self._noted) < 2:
            return None
        newest = self._noted[-1]
        middle = (self._first + newest.done) / 2
        before = [noted for noted in self._noted if noted.done <= middle]
        since = before[-1] if before else self._noted[0]
        a_step = (newest.second - since.second) / (newest.done - since.done)
        waiting = min(now - newest.second, a_step)
        return max(0.0, (self._total - newest.done) * a_step - waiting)
