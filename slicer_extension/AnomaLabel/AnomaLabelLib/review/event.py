"""One act of a reader on one finding or one case, as it is kept on disk and sent to the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..errors import ReplyError
from ..server.json_fields import JsonFields
from ..translation import _
from .row import Row

FINDING_ACTIONS = frozenset({"accepted", "rejected", "edited", "added", "reopened", "withdrawn"})
VERDICTS = {"case_normal": "normal", "case_abnormal": "abnormal"}
OWN_VERDICTS = {"read_normal": "normal", "read_abnormal": "abnormal"}
CASE_ACTIONS = frozenset(
    {*VERDICTS, *OWN_VERDICTS, "case_reopened", "second_reader", "second_reader_withdrawn", "segmented"}
)
MAXIMUM_REASON = 200


@dataclass(frozen=True)
class ReviewEvent:
    """An act.

    Args:
        event_id: a UUID; the server takes each once.
        image: id of the study.
        action: one of `FINDING_ACTIONS` or `CASE_ACTIONS`; a newer server may have more.
        finding_id: of a finding's action, else None.
        before, after: the finding as it was and became; of `segmented`, `after` tells mask, findings and segments.
        reason: why a finding was rejected, at most 200 characters.
        undoes: id of the event that this one takes back; information only.
        acted_utc: when the reader acted.
        findings_sha256: of the report that was reviewed.
        model, prompts: of that report.
        client: program and version.
        utc: when the server took it, None before.
    """

    event_id: str
    image: str
    reviewer: str
    action: str
    finding_id: str | None = None
    before: Row | None = None
    after: Row | None = None
    reason: str | None = None
    undoes: str | None = None
    acted_utc: datetime | None = None
    findings_sha256: str | None = None
    model: dict[str, object] | None = None
    prompts: dict[str, object] | None = None
    client: str = ""
    utc: datetime | None = None

    @property
    def moment(self) -> datetime | None:
        """When the reader acted, as well as it is known."""
        return self.acted_utc or self.utc

    def to_body(self) -> dict[str, object]:
        """The body of POST /reviews/{image}; what is not known is left out."""
        values = {
            "event_id": self.event_id,
            "reviewer": self.reviewer,
            "action": self.action,
            "finding_id": self.finding_id,
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
            "undoes": self.undoes,
            "acted_utc": None if self.acted_utc is None else self.acted_utc.isoformat(),
            "findings_sha256": self.findings_sha256,
            "model": self.model,
            "prompts": self.prompts,
            "client": self.client,
        }
        return {key: value for key, value in values.items() if value is not None}


def parse_event(values: dict[str, object]) -> ReviewEvent:
    """An event of the server's answer; keys that are not known here are passed over.

    Raises:
        ReplyError: a key is missing or malformed, or a known action comes with or without a finding against its rule.
    """
    fields = JsonFields(values, "event", _unreadable)
    event = ReviewEvent(
        event_id=_uuid(fields.text("event_id")),
        image=fields.text("image"),
        reviewer=fields.text("reviewer"),
        action=fields.text("action"),
        finding_id=_optional(values, "finding_id", str),
        before=_optional(values, "before", dict),
        after=_optional(values, "after", dict),
        reason=_optional(values, "reason", str),
        undoes=None if values.get("undoes") is None else _uuid(fields.text("undoes")),
        acted_utc=fields.optional_moment("acted_utc"),
        findings_sha256=_optional(values, "findings_sha256", str),
        model=_optional(values, "model", dict),
        prompts=_optional(values, "prompts", dict),
        client=fields.optional_text("client"),
        utc=fields.optional_moment("utc"),
    )
    about_finding, about_case = event.action in FINDING_ACTIONS, event.action in CASE_ACTIONS
    if (about_finding and not event.finding_id) or (about_case and event.finding_id is not None):
        raise _unreadable(_("{action} names a finding, or names none, against its rule").format(action=event.action))
    return event


def together(kept: Iterable[ReviewEvent], own: Iterable[ReviewEvent]) -> tuple[ReviewEvent, ...]:
    """The events that the server keeps, then those of this computer that it does not have yet."""
    known = tuple(kept)
    ids = {event.event_id for event in known}
    return (*known, *(event for event in own if event.event_id not in ids))


def _optional(values: dict[str, object], key: str, kind: type) -> object:
    value = values.get(key)
    if value is not None and not isinstance(value, kind):
        raise _unreadable(_("{where}.{key} is missing or malformed").format(where="event", key=key))
    return value


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise _unreadable(_("{text} is no event id").format(text=text[:40])) from error


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("What reviewers decided cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
