"""How far a long work is, in MONAI Label's words and some of our own."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anomalabel.errors import OutputError
from anomalabel.io.write import write_text

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""As MONAI Label writes it."""

MAXIMUM_DETAILS = 20

Status = Literal["RUNNING", "DONE", "ERROR", "STOPPED"]


def now() -> str:
    """The time as MONAI Label writes it."""
    return datetime.now().strftime(TIME_FORMAT)


class WorkStatus(BaseModel):
    """One work from its start to its end.

    Args:
        id, model, request, start_ts, end_ts: as in MONAI Label; `model` is the train or infer task.
        status: STOPPED where it was cancelled.
        stage: what is being done.
        done, total: steps of this stage; total 0 where nobody knows yet.
        percent: of this stage.
        seconds_running: since the start, or from start to end; None where the server did not live to see the end.
        seconds_left: of this stage, as its last steps went; None where nobody knows yet.
        resumes: whether the same request, sent again, goes on where a server that ended left this work.
        details: the stages so far, what was told of them and, at the end, the outcome; the last 20.
        error: why it failed, "" otherwise.
        report: of the finished work.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    model: str
    request: dict[str, Any]
    status: Status = "RUNNING"
    stage: str = "waiting"
    done: int = 0
    total: int = 0
    percent: int = 0
    seconds_running: float | None = None
    seconds_left: float | None = None
    resumes: bool = False
    details: tuple[str, ...] = ()
    error: str = ""
    report: dict[str, Any] | None = None
    start_ts: str = Field(default_factory=now)
    end_ts: str = ""

    def at(self, stage: str, done: int, total: int) -> WorkStatus:
        """The same a step further."""
        details = self.details if stage == self.stage else _with(self.details, stage)
        percent = min(100, 100 * done // total) if total > 0 else 0
        return self.model_copy(
            update={"stage": stage, "done": done, "total": total, "percent": percent, "details": details}
        )

    def told(self, line: str) -> WorkStatus:
        """The same with a further line of details."""
        return self.model_copy(update={"details": _with(self.details, line)})

    def timed(self, seconds_running: float, seconds_left: float | None) -> WorkStatus:
        """The same with its times, to a tenth of a second."""
        left = None if seconds_left is None else round(seconds_left, 1)
        return self.model_copy(update={"seconds_running": round(seconds_running, 1), "seconds_left": left})

    def ended(self, status: Status, outcome: str, report: dict[str, Any] | None = None) -> WorkStatus:
        """The same at its end."""
        return self.model_copy(
            update={
                "status": status,
                "stage": "",
                "details": _with(self.details, outcome),
                "error": outcome if status == "ERROR" else "",
                "report": report,
                "done": self.total if status == "DONE" else self.done,
                "percent": 100 if status == "DONE" else self.percent,
                "seconds_left": None,
                "end_ts": now(),
            }
        )


def save_status(path: Path, status: WorkStatus) -> None:
    """Keep a status for the next start of the server.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, status.model_dump_json(indent=2))
    except (OSError, OutputError) as error:
        raise OutputError(
            "The server cannot write into its studies folder.", "Make room on the disk, or give the server that right."
        ) from error


def last_status(path: Path) -> WorkStatus | None:
    """The last work of an earlier server as it was kept there; None where there was none or its note is damaged."""
    try:
        return WorkStatus.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        # Only a note of what was: without it the server starts as if there had been none.
        return None


def _with(details: tuple[str, ...], line: str) -> tuple[str, ...]:
    return (*details, line)[-MAXIMUM_DETAILS:]
