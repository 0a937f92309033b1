"""The jobs of worklist and cases: they speak to the server and know neither scene nor window."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import PanelError, RequestRefusedError, RunCancelledError
from ..review.case import fold
from ..review.event import ReviewEvent, parse_event
from ..review.reviewed import Segmentation
from .client import Client, StudyFile
from .jobs import JobContext
from .worklist import Lease, Worklist


@dataclass(frozen=True)
class WorklistWork:
    """Ask for all cases in an order; see `ReviewCalls.worklist`."""

    client: Client
    order: str
    seed: int = 0

    def __call__(self, context: JobContext) -> Worklist:
        return self.client.worklist(self.order, self.seed)


@dataclass(frozen=True)
class OpenedCase:
    """A case that this panel has open now.

    Args:
        events: what readers decided so far, oldest first.
        study_file: the image where the scene does not hold it yet.
        warnings: what the server says about its record of the case.
        mask: the file of the segments that were last sent, None where none were.
    """

    image: str
    lease: Lease
    events: tuple[ReviewEvent, ...]
    study_file: StudyFile | None
    warnings: tuple[str, ...] = ()
    mask: bytes | None = None


@dataclass(frozen=True)
class OpenCaseWork:
    """Take a case, so that nobody else opens it, and fetch what is known of it.

    Args:
        download: fetch the image too.
        leave: id of the case that is given back first, "" for none.
    """

    client: Client
    image: str
    reviewer: str
    download: bool = True
    leave: str = ""

    def __call__(self, context: JobContext) -> OpenedCase:
        lease = self.client.lease(self.image, self.reviewer)
        try:
            opened = self._fetch(lease)
            if context.cancelled.is_set():
                raise RunCancelledError
        except PanelError:
            # Nobody has it open now; where the server cannot be told, the lease ends by itself.
            if self.image != self.leave:
                with suppress(PanelError):
                    self.client.release(self.image)
            raise
        if self.leave and self.leave != self.image:
            with suppress(PanelError):
                self.client.release(self.leave)
        return opened

    def _fetch(self, lease: Lease) -> OpenedCase:
        reply = self.client.reviews(self.image)
        events = tuple(parse_event(event) for event in reply.events)
        sent = fold(events).segmentation
        study_file = self.client.download_study(self.image) if self.download else None
        mask, warnings = self._mask(sent, tuple(reply.warnings))
        return OpenedCase(self.image, lease, events, study_file, warnings, mask)

    def _mask(self, sent: Segmentation | None, warnings: tuple[str, ...]) -> tuple[bytes | None, tuple[str, ...]]:
        """The segments that were last sent; a case opens without them where the server cannot give them."""
        try:
            return (None if sent is None else self.client.mask(self.image, sent.mask_sha256)), warnings
        except RequestRefusedError as error:
            return None, (*warnings, error.cause)


@dataclass(frozen=True)
class RenewLeaseWork:
    """Keep a case: its lease would end otherwise."""

    client: Client
    image: str
    reviewer: str

    def __call__(self, context: JobContext) -> Lease:
        return self.client.lease(self.image, self.reviewer)


@dataclass(frozen=True)
class ReleaseWork:
    """Give a case back."""

    client: Client
    image: str

    def __call__(self, context: JobContext) -> None:
        self.client.release(self.image)


@dataclass(frozen=True)
class AddCaseWork:
    """Send an image of this computer to the server as a new case; the value is its id.

    Args:
        name: that the case shall have.
        path: of the file.
    """

    client: Client
    name: str
    path: Path

    def __call__(self, context: JobContext) -> str:
        return self.client.add_study(self.name, self.path)
