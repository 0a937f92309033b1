"""Reading the file of one image and checking that each event follows from the one before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from anomalabel.config import describe_validation
from anomalabel.errors import AnomaLabelError
from monailabel_app.reviews.event import ReviewEvent, Verdict
from monailabel_app.reviews.outcome import CaseOutcome, fold

CUT_OFF = "A crash cut off an event before it was kept; review again."


class ReviewsDamaged(AnomaLabelError):
    """A file of review events was changed or damaged: a line is no event, or does not follow from the one before.

    Args:
        path: of the file.
        line: the first one that does not hold, from 1 on.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, line: int, reason: str) -> None:
        self.line = line
        super().__init__(
            f"{shown(path)}, line {line}: {reason}.",
            "Put the file back from a backup; what reviewers decided must not be guessed.",
        )


class ReviewsUnreadable(AnomaLabelError):
    """A file of review events is there and the disk, or its rights, keep the server from reading it.

    Args:
        path: of the file.
        reason: of the system.
    """

    def __init__(self, path: Path, reason: str | None) -> None:
        super().__init__(f"{shown(path)} cannot be read: {reason}.", "Give the server's user the right to read it.")


def shown(path: Path) -> str:
    """A file of events for messages: its place below the server's own folder, which clients need not know."""
    return f"{path.parent.name}/{path.name}"


@dataclass(frozen=True)
class ReviewChain:
    """The events of one image, oldest first.

    Args:
        events: all that were written whole.
        torn: the unfinished last line that a crash left behind, b"" where there is none; nobody was told of it.
        last_sha256: of the last line without its line end, None where there is no event.
    """

    events: tuple[ReviewEvent, ...] = ()
    torn: bytes = b""
    last_sha256: str | None = None

    @cached_property
    def outcome(self) -> CaseOutcome:
        """What the events come to."""
        return fold(self.events)

    @property
    def verdict(self) -> Verdict | None:
        """What a model may learn from: the verdict of a reviewed image; None while a second reading is pending."""
        return self.outcome.settled_verdict

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reviewer should know of the file."""
        return (CUT_OFF,) if self.torn else ()


def parse_chain(content: bytes, image: str, path: Path) -> ReviewChain:
    """Read and verify the content of an image's file.

    Args:
        content: of the file.
        image: whose file it is.
        path: for messages.

    Raises:
        ReviewsDamaged: names file and line.
    """
    *lines, torn = content.split(b"\n")
    events: list[ReviewEvent] = []
    previous: str | None = None
    for number, line in enumerate(lines, start=1):
        try:
            event = ReviewEvent.model_validate_json(line)
        except ValidationError as error:
            raise ReviewsDamaged(path, number, f"this is no review event ({describe_validation(error)})") from error
        if event.previous_sha256 != previous:
            raise ReviewsDamaged(path, number, "the event does not follow from the line before it")
        if event.image != image:
            raise ReviewsDamaged(path, number, f"the event is about another image, {event.image}")
        events.append(event)
        previous = hashlib.sha256(line).hexdigest()
    return ReviewChain(tuple(events), torn, previous)
