"""The next case of the worklist for clients that know MONAI Label's strategies only."""

from __future__ import annotations

import random
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from monailabel_app.worklist.orders import ORDERS, OrderName
from monailabel_app.worklist.worklist import Worklist

DESCRIPTIONS: dict[OrderName, str] = {
    "first": "The first unreviewed study by name",
    "random": "An unreviewed study by chance",
    "most_anomalous": "The unreviewed study that the methods find most anomalous",
    "most_uncertain": "The unreviewed study that the methods are least certain of",
    "most_disagreement": "The unreviewed study that the methods disagree about most",
}
LARGEST_SEED = 2**32 - 1


class NextCase(Strategy):
    """Serves the next study of one order that is neither reviewed, nor labelled by a stock client, nor open elsewhere.

    Args:
        worklist: of the server.
        order: of the worklist.
    """

    def __init__(self, worklist: Worklist, order: OrderName) -> None:
        super().__init__(DESCRIPTIONS[order])
        self._worklist = worklist
        self._order = order

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The study's id under `id`, with its state; None where nothing is left.

        Args:
            request: a client's values; of them `client_id` and, for `random`, `seed` mean something.
            datastore: of the studies.
        """
        seed, client = request.get("seed"), request.get("client_id")
        drawn = seed if isinstance(seed, int) else random.randint(0, LARGEST_SEED)
        unlabelled = set(datastore.get_unlabeled_images())
        waiting = self._worklist.waiting(
            datastore.list_images(), self._order, drawn, client if isinstance(client, str) else ""
        )
        found = next((case for case in waiting if case.image in unlabelled), None)
        return None if found is None else {"id": found.image, "state": found.state}


def next_case_strategies(worklist: Worklist) -> dict[str, Strategy]:
    """One strategy for each order, by its name."""
    return {order: NextCase(worklist, order) for order in ORDERS}
