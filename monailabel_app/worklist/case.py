"""The worklist as it is sent: one row for each study."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from monailabel_app.reviews.event import Verdict
from monailabel_app.reviews.outcome import CaseState
from monailabel_app.scoring.store import StudyScore


class Scores(Protocol):
    """Where it is kept what models said of each study."""

    def scores(self, image: str) -> dict[str, StudyScore]: ...


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True)


class SentLease(_Sent):
    """Who has the case open; `mine`: the client that asks."""

    reviewer: str
    until_utc: datetime
    mine: bool


class Case(_Sent):
    """One study.

    Args:
        image: its id.
        state, verdict, reviewer, utc: see `CaseOutcome`.
        lease: None where nobody has it open.
        scores: by infer task.
        rank: what the order goes by, see `orders`; None where the case has none.
        problem: why its events cannot be used, "" where they can.
    """

    image: str
    state: CaseState
    verdict: Verdict | None
    reviewer: str | None
    utc: datetime | None
    lease: SentLease | None
    scores: dict[str, StudyScore]
    rank: float | None
    problem: str


class Listing(_Sent):
    """All studies in one order.

    Args:
        order: the one that was asked for.
        orders: all that there are.
        notes: what the reader should know of this order.
        seconds_per_lease: how long a lease lasts after its last renewal.
        cases: in this order.
    """

    order: str
    orders: tuple[str, ...]
    notes: tuple[str, ...]
    seconds_per_lease: int
    cases: tuple[Case, ...]
