"""The lines of the journal on disk: acts, and what became of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ..errors import ReplyError
from .event import ReviewEvent, parse_event

SENT, REFUSED = "sent", "refused"
BODY = b',"body":'
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Act:
    """An act as it is kept: for which server and image, and the body that is sent.

    Args:
        body: as JSON; read when it is asked for, since a journal may hold a hundred thousand.
    """

    event_id: str
    server: str
    image: str
    body: bytes

    @cached_property
    def event(self) -> ReviewEvent | None:
        """The act as an event, None where somebody changed the file by hand and it is none any more."""
        try:
            values = json.loads(self.body)
            return parse_event({**values, "image": self.image}) if isinstance(values, dict) else None
        except (ValueError, RecursionError, ReplyError):
            return None

    @property
    def mask_sha256(self) -> str | None:
        """SHA-256 of the mask that the act names, None where it names none."""
        event = self.event if b"mask_sha256" in self.body else None
        name = event.after.get("mask_sha256") if event and event.action == "segmented" and event.after else None
        return name if isinstance(name, str) and SHA256.fullmatch(name) else None


@dataclass(frozen=True)
class Mark:
    """What became of an act: "sent" or "refused"."""

    kind: str
    event_id: str


@dataclass(frozen=True)
class Refusal:
    """An act that was refused, the server's words, and when."""

    act: Act
    reason: str
    refused_utc: datetime


def act_of(server: str, event: ReviewEvent) -> Act:
    """An event as it is kept for a server."""
    return Act(event.event_id, server, event.image, _json(event.to_body()))


def line_of(entry: Act | Mark | Refusal) -> bytes:
    """An entry as one line of JSON, without its end; the body comes last."""
    if isinstance(entry, Mark):
        return _json({entry.kind: entry.event_id})
    act = entry if isinstance(entry, Act) else entry.act
    head = {"act": act.event_id, "server": act.server, "image": act.image}
    if isinstance(entry, Refusal):
        head |= {"reason": entry.reason, "refused_utc": entry.refused_utc.isoformat()}
    return _json(head)[:-1] + BODY + act.body + b"}"


def parse_line(line: bytes) -> Act | Mark | Refusal | None:
    """The entry of a line, None where it is none that this version knows."""
    # Inside a text the quotes would be escaped, so that the first of these starts the body.
    head, has_body, rest = line.partition(BODY)
    try:
        values = json.loads(head + b"}" if has_body else head)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    if not has_body:
        return next((Mark(kind, values[kind]) for kind in (SENT, REFUSED) if isinstance(values.get(kind), str)), None)
    texts = [values.get(key) for key in ("act", "server", "image")]
    if not all(isinstance(text, str) for text in texts) or not rest.endswith(b"}}"):
        return None
    act = Act(*texts, rest[:-1])
    return _refusal(act, values) if "refused_utc" in values else act


def _refusal(act: Act, values: dict[str, object]) -> Refusal | None:
    try:
        return Refusal(act, str(values.get("reason", "")), datetime.fromisoformat(str(values["refused_utc"])))
    except ValueError:
        return None


def _json(values: dict[str, object]) -> bytes:
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
