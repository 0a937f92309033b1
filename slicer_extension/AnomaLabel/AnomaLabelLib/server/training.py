"""How far a training, or the scoring of all studies, is on the server, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..errors import ReplyError, RequestRefusedError
from ..translation import _
from .json_fields import JsonFields

RUNNING = "RUNNING"
DONE = "DONE"
ERROR = "ERROR"
STOPPED = "STOPPED"
STATUSES = (RUNNING, DONE, ERROR, STOPPED)


@dataclass(frozen=True)
class TrainingOutcome:
    """Highlights of the report of what ended well.

    Args:
        model: name of the new model, "" where none was made.
        shots: number of healthy images it learned from.
        thresholds: (what it is of, how it was chosen and what it promises), in the server's words.
        scored: number of studies that a scoring looked at.
        left_out: (image, why it was not used).
    """

    model: str = ""
    shots: int = 0
    thresholds: tuple[tuple[str, str], ...] = ()
    scored: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingFacts:
    """One training or scoring, running or ended.

    Args:
        task: name of the train task, or of the method that scores.
        config: it is for, "" where the request names none.
        status: one of `STATUSES`; STOPPED where it was cancelled.
        stage: what is being done, in the server's words.
        done, total: steps of this stage; total 0 where nobody knows yet.
        percent: of this stage, in [0, 100].
        seconds_running: since the start, or from start to end; None where nobody knows.
        seconds_left: of this stage; None where nobody knows.
        error: why it failed, "" otherwise.
        resumes: whether the same request goes on where a server that ended left it.
        details: the stages so far and, at the end, the outcome.
        outcome: once it is DONE.
        started, ended: date and time by the server's clock as it writes them, "" where it has not.
    """

    task: str
    config: str
    status: str
    stage: str
    done: int
    total: int
    percent: int
    seconds_running: float | None
    seconds_left: float | None
    error: str
    resumes: bool
    details: tuple[str, ...]
    outcome: TrainingOutcome | None
    started: str
    ended: str

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status == RUNNING


def parse_training(answer: object) -> TrainingFacts:
    """Read the answer to `/train/` or `/scoring/`.

    Raises:
        ReplyError: names what is missing or malformed.
    """
    fields = JsonFields(answer, "training", _unreadable)
    request = fields.inner("request")
    report = fields.optional_inner("report")
    return TrainingFacts(
        task=fields.text("model"),
        config=request.optional_text("config"),
        status=fields.choice("status", STATUSES),
        stage=fields.text("stage"),
        done=fields.whole("done"),
        total=fields.whole("total"),
        percent=min(100, max(0, fields.whole("percent"))),
        seconds_running=fields.optional_number("seconds_running"),
        seconds_left=fields.optional_number("seconds_left"),
        error=fields.optional_text("error"),
        resumes=fields.flag("resumes") if fields.has("resumes") else False,
        details=fields.texts("details"),
        outcome=_outcome(report) if report is not None else None,
        started=fields.optional_text("start_ts"),
        ended=fields.optional_text("end_ts"),
    )


def options_of(text: str) -> dict[str, object]:
    """Settings of a training as a user types them: "shots=8, epochs=20"; the server knows which there are.

    Raises:
        RequestRefusedError: a part is no name with a value.
    """
    options: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not name or not equals or not value:
            raise RequestRefusedError(
                _("'{part}' is no setting of a training.").format(part=part[:80]),
                _("Write name and value, with commas between: shots=8, epochs=20"),
            )
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _outcome(report: JsonFields) -> TrainingOutcome:
    rules = report.inner("thresholds") if report.has("thresholds") else None
    left_out = [one for key in ("left_out", "skipped") if report.has(key) for one in report.inner_list(key)]
    return TrainingOutcome(
        model=report.optional_text("model"),
        shots=report.whole("shots_used") if report.has("shots_used") else 0,
        thresholds=tuple((name, rules.text(name)) for name in rules.names()) if rules is not None else (),
        scored=report.whole("scored") if report.has("scored") else 0,
        left_out=tuple((one.text("image"), one.text("reason")) for one in left_out),
        warnings=report.texts("warnings") if report.has("warnings") else (),
    )


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("What the server says of its training cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
