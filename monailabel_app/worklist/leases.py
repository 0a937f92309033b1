"""Leases: who has a case open, so that two readers do not do the same work.

A lease is a courtesy and no lock: it lies in memory, ends by itself, and never keeps a review from being stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from anomalabel.errors import AnomaLabelError

LEASE_SECONDS = 900


@dataclass(frozen=True)
class Lease:
    """One open case.

    Args:
        image: id of the study.
        reviewer: who has it open.
        client: whose it is: a text that each running client chooses for itself.
        until_utc: when it ends unless it is renewed.
    """

    image: str
    reviewer: str
    client: str
    until_utc: datetime


class LeaseTaken(AnomaLabelError):
    """Another reader has the case open."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"{lease.reviewer} has this case open until {lease.until_utc:%H:%M} UTC.",
            "Take another case, or wait until then.",
        )


def utc_now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(timezone.utc)


class Leases:
    """Of all cases; may be used from several threads.

    Args:
        seconds: from the last renewal to the end of a lease.
        clock: aware time of day, UTC.
    """

    def __init__(self, seconds: int = LEASE_SECONDS, clock: Callable[[], datetime] = utc_now) -> None:
        self.seconds = seconds
        self._clock = clock
        self._change = threading.Lock()
        self._leases: dict[str, Lease] = {}

    def take(self, image: str, reviewer: str, client: str) -> Lease:
        """Open a case, or renew the own lease; a reader who has moved to another computer takes it along.

        Raises:
            LeaseTaken: another reader has it open.
        """
        with self._change:
            self._drop_ended()
            known = self._leases.get(image)
            if known is not None and known.client != client and known.reviewer != reviewer:
                raise LeaseTaken(known)
            lease = Lease(image, reviewer, client, self._clock() + timedelta(seconds=self.seconds))
            self._leases[image] = lease
            return lease

    def give_back(self, image: str, client: str) -> bool:
        """End the own lease; False where the client has none."""
        with self._change:
            self._drop_ended()
            known = self._leases.get(image)
            if known is None or known.client != client:
                return False
            del self._leases[image]
            return True

    def held(self) -> dict[str, Lease]:
        """Image id to its lease, ended ones left out."""
        with self._change:
            self._drop_ended()
            return dict(self._leases)

    def _drop_ended(self) -> None:
        now = self._clock()
        self._leases = {image: lease for image, lease in self._leases.items() if lease.until_utc > now}
