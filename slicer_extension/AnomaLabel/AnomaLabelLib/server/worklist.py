"""The server's cases: how far each is reviewed, who has it open, and how anomalous it looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..errors import ReplyError
from ..translation import _
from .json_fields import JsonFields

CASE_STATES = ("new", "in_review", "second_reader", "reviewed")
VERDICTS = ("normal", "abnormal")


@dataclass(frozen=True)
class Lease:
    """A case that somebody has open.

    Args:
        until_utc: by the server's clock.
        mine: whether it is this panel.
        seconds: from the server's answer to the end; 0 where only the time of day is known.
    """

    reviewer: str
    until_utc: datetime
    mine: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class CaseScore:
    """What one task's last run said of a case.

    Args:
        image_score: larger is more anomalous; comparable within one task and model.
        relative: the score by its threshold: above 1 is abnormal, and methods compare; None where not calibrated.
        uncertainty: mean over the findings, None where nobody knows.
        findings: how many.
        utc: of that run.
    """

    task: str
    image_score: float
    relative: float | None
    uncertainty: float | None
    findings: int
    model: str
    utc: datetime


@dataclass(frozen=True)
class WorklistCase:
    """One study.

    Args:
        state: one of `CASE_STATES`.
        verdict: "normal", "abnormal" or "" where none stands.
        reviewer, utc: of the last act, "" and None where there was none.
        rank: what the order went by, None where nobody knows.
        problem: why its reviews cannot be read, "" where they can.
    """

    image: str
    state: str
    verdict: str = ""
    reviewer: str = ""
    utc: datetime | None = None
    lease: Lease | None = None
    scores: tuple[CaseScore, ...] = ()
    rank: float | None = None
    problem: str = ""

    def score(self, task: str) -> CaseScore | None:
        """Of one task, None where it never ran."""
        return next((score for score in self.scores if score.task == task), None)


@dataclass(frozen=True)
class Worklist:
    """The cases in the order that was asked for.

    Args:
        orders: names of all orders that the server knows.
        notes: what the server says of this order, such as how many cases have no score yet.
        seconds_per_lease: how long a case stays taken after the last renewal.
    """

    order: str
    orders: tuple[str, ...]
    notes: tuple[str, ...]
    seconds_per_lease: float
    cases: tuple[WorklistCase, ...]


def parse_worklist(answer: object) -> Worklist:
    """Read the answer to `GET /worklist`.

    Raises:
        ReplyError: names what is missing or malformed.
    """
    fields = JsonFields(answer, "worklist", _unreadable)
    seconds = fields.number("seconds_per_lease")
    if seconds <= 0:
        raise _unreadable(_("worklist.seconds_per_lease is not above 0"))
    return Worklist(
        order=fields.text("order"),
        orders=fields.texts("orders"),
        notes=fields.texts("notes"),
        seconds_per_lease=seconds,
        cases=tuple(_case(case) for case in fields.inner_list("cases")),
    )


def parse_lease(answer: object) -> Lease:
    """Read the answer to `POST /worklist/IMAGE/lease`.

    Raises:
        ReplyError: names what is missing or malformed.
    """
    fields = JsonFields(answer, "lease", _unreadable)
    return Lease(fields.text("reviewer"), fields.moment("until_utc"), mine=True, seconds=fields.number("seconds"))


def _case(fields: JsonFields) -> WorklistCase:
    lease = fields.optional_inner("lease")
    return WorklistCase(
        image=fields.text("image"),
        state=fields.choice("state", CASE_STATES),
        verdict=fields.choice("verdict", VERDICTS) if fields.optional_text("verdict") else "",
        reviewer=fields.optional_text("reviewer"),
        utc=fields.optional_moment("utc"),
        lease=_held(lease) if lease is not None else None,
        scores=tuple(_score(task, score) for task, score in fields.inner_by_name("scores").items()),
        rank=fields.optional_number("rank"),
        problem=fields.optional_text("problem"),
    )


def _held(fields: JsonFields) -> Lease:
    return Lease(fields.text("reviewer"), fields.moment("until_utc"), fields.flag("mine"))


def _score(task: str, fields: JsonFields) -> CaseScore:
    return CaseScore(
        task=task,
        image_score=fields.number("image_score"),
        relative=fields.optional_number("relative"),
        uncertainty=fields.optional_number("uncertainty"),
        findings=fields.whole("findings"),
        model=fields.text("model"),
        utc=fields.moment("utc"),
    )


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("The server's worklist cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
