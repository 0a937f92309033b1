"""The list of all studies with their states, scores and leases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anomalabel.errors import writable
from monailabel_app.reviews.standings import NEW, Standings
from monailabel_app.safety.names import is_plain_name
from monailabel_app.worklist.case import Case, Listing, Scores, SentLease
from monailabel_app.worklist.leases import Lease, Leases
from monailabel_app.worklist.orders import ORDERS, OrderName, put_in_order

NO_TEXT = "The file's name is no UTF-8, so no client can ask for it. Rename it on the server."
NO_NAME = (
    "No client can ask for a file of this name: it is too long, reserved, or holds a colon, a backslash or a control "
    "character. Rename it on the server."
)


class Worklist:
    """Of one studies folder; may be used from several threads.

    Args:
        standings: how far the review of each image is.
        leases: who has which case open.
        scores: what models said of each image.
    """

    def __init__(self, standings: Standings, leases: Leases, scores: Scores) -> None:
        self._standings = standings
        self._leases = leases
        self._scores = scores

    def listing(self, images: Sequence[str], order: OrderName, seed: int = 0, client: str = "") -> Listing:
        """All studies in an order.

        Args:
            images: ids.
            order: see `put_in_order`.
            seed: of the order `random`.
            client: whose leases are marked as its own.
        """
        scores = {image: self._scores.scores(image) if is_plain_name(image) else {} for image in images}
        ordered = put_in_order(images, order, scores, seed)
        standings, held = self._standings.all(), self._leases.held()
        cases = []
        for image in ordered.images:
            standing = standings.get(image, NEW)
            cases.append(
                Case(
                    image=writable(image),
                    state=standing.state,
                    verdict=standing.verdict,
                    reviewer=standing.reviewer,
                    utc=standing.utc,
                    lease=_sent(held.get(image), client),
                    scores=scores[image],
                    rank=ordered.ranks.get(image),
                    problem=standing.problem or _name_problem(image),
                )
            )
        return Listing(
            order=order,
            orders=ORDERS,
            notes=ordered.notes,
            seconds_per_lease=self._leases.seconds,
            cases=tuple(cases),
        )

    def waiting(self, images: Sequence[str], order: OrderName, seed: int = 0, client: str = "") -> Iterator[Case]:
        """The cases that are not reviewed and that no other client has open, the first to read first."""
        for case in self.listing([one for one in images if is_plain_name(one)], order, seed, client).cases:
            if case.state != "reviewed" and (case.lease is None or case.lease.mine):
                yield case


def _name_problem(image: str) -> str:
    if is_plain_name(image):
        return ""
    return NO_TEXT if writable(image) != image else NO_NAME


def _sent(lease: Lease | None, client: str) -> SentLease | None:
    if lease is None:
        return None
    return SentLease(reviewer=lease.reviewer, until_utc=lease.until_utc, mine=bool(client) and lease.client == client)
