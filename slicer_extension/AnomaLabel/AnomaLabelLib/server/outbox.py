"""The job that empties the queue on this computer's disk into the server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import LoginError, PanelError, RequestRefusedError, ServerFailedError
from .client import Client
from .jobs import JobContext
from .versions import require_reviewing

MOST_FAILED_IMAGES = 3
"""A server that fails over so many images is sick itself, and is left alone for a while."""


class QueuedEvent(Protocol):
    """A reviewer's act as the journal gives it."""

    event_id: str
    image: str
    reviewer: str

    def to_body(self) -> Mapping[str, Any]: ...


class QueueEntry(Protocol):
    """An act that still has to be sent, with the mask that it names, None where it names none."""

    event: QueuedEvent
    mask: bytes | None


class Queue(Protocol):
    """What is needed of the journal on disk."""

    def pending(self, server: str) -> tuple[QueueEntry, ...]: ...
    def acknowledge(self, event_id: str) -> None: ...
    def refuse(self, event_id: str, reason: str) -> None: ...


@dataclass(frozen=True)
class Sent:
    """What came of one go: acts that arrived, that the server will never take, and that still wait."""

    count: int
    refused: int
    left: int


@dataclass(frozen=True)
class SendWork:
    """Send the waiting acts in their order, each mask before the act that names it.

    An act leaves the queue once the server has said that it holds it. Where that word got lost the act is sent again
    under its `event_id`, and the server, which knows it, counts it once.

    Raises, after what has gone was acknowledged:
        LoginError: the server wants another login for the acts of a reviewer; they stay in the queue, and those of
            other reviewers, who share this computer, have gone.
        ServerFailedError: the server failed over the acts of an image, whose record may be damaged; they stay in the
            queue, and those of other images have gone, unless it failed over several in one go.
        PanelError: the server did not answer, is of another version, or something else answers in its place; the act
            at the front and all behind it stay in the queue.
    """

    client: Client
    journal: Queue

    def __call__(self, context: JobContext) -> Sent:
        entries = self.journal.pending(self.client.address)
        count = refused = 0
        denied: dict[str, LoginError] = {}
        failed: dict[str, ServerFailedError] = {}
        for done, entry in enumerate(entries):
            if context.cancelled.is_set():
                break
            context.report(done, len(entries))
            if entry.event.reviewer in denied or entry.event.image in failed:
                continue
            try:
                reason = self._send(entry)
            except LoginError as error:
                denied[entry.event.reviewer] = error
                continue
            except ServerFailedError as error:
                failed[entry.event.image] = error
                if len(failed) == MOST_FAILED_IMAGES:
                    break
                continue
            if reason is None:
                self.journal.acknowledge(entry.event.event_id)
                count += 1
            else:
                self.journal.refuse(entry.event.event_id, reason.cause)
                refused += 1
        for error in (*denied.values(), *failed.values()):
            raise error
        return Sent(count, refused, len(entries) - count - refused)

    def _send(self, entry: QueueEntry) -> PanelError | None:
        """Send one act; returns why the server will never take it, None where it did."""
        event = entry.event
        try:
            if entry.mask is not None:
                self.client.send_mask(event.image, hashlib.sha256(entry.mask).hexdigest(), entry.mask)
            self.client.send_event(event.image, event.to_body())
        except RequestRefusedError as error:
            # A server that was exchanged for one of another version refuses what the right one takes.
            require_reviewing(self.client.info())
            return error
        return None
