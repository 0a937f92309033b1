"""How far the review of each image is, remembered until its file changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from anomalabel.errors import AnomaLabelError
from monailabel_app.reviews.event import Verdict
from monailabel_app.reviews.outcome import CaseOutcome, CaseState
from monailabel_app.reviews.store import FileState, ReviewStore


@dataclass(frozen=True)
class Standing:
    """How far one image is; see `CaseOutcome`.

    Args:
        problem: why its events cannot be used, "" where they can; nothing else is known of it then.
    """

    state: CaseState = "new"
    verdict: Verdict | None = None
    reviewer: str | None = None
    utc: datetime | None = None
    problem: str = ""


NEW = Standing()


class Standings:
    """Of all images of a folder of events; may be used from several threads.

    Args:
        store: the folder.
    """

    def __init__(self, store: ReviewStore) -> None:
        self._store = store
        self._known: dict[str, tuple[FileState, Standing]] = {}

    def all(self) -> dict[str, Standing]:
        """Image id to how far it is; images that nobody reviewed are left out."""
        found = {}
        for image, state in self._store.files().items():
            known = self._known.get(image)
            # The state was taken before the file is read: what is appended meanwhile is read the next time.
            if known is None or known[0] != state:
                known = state, self._read(image)
                self._known[image] = known
            found[image] = known[1]
        return found

    def _read(self, image: str) -> Standing:
        try:
            return standing_of(self._store.chain(image).outcome)
        except AnomaLabelError as error:
            return Standing(state="in_review", problem=str(error))


def standing_of(outcome: CaseOutcome) -> Standing:
    """How far an image is whose events come to `outcome`."""
    return Standing(outcome.state, outcome.verdict, outcome.reviewer, outcome.utc)
