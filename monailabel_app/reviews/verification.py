"""Whether what reviewers decided is all there and unchanged: every chain, and every mask that a chain names."""

from __future__ import annotations

from dataclasses import dataclass

from anomalabel.errors import AnomaLabelError
from monailabel_app.reviews.chain import ReviewChain, ReviewsDamaged
from monailabel_app.reviews.masks import MaskStore
from monailabel_app.reviews.store import ReviewStore


@dataclass(frozen=True)
class Verification:
    """What was found of one image.

    Args:
        image: its id.
        events: how many hold, counted from the first.
        verified: whether nothing was changed and nothing is missing.
        problem: what is wrong, or what a crash cut off; "" where there is nothing to say.
    """

    image: str
    events: int
    verified: bool
    problem: str = ""


def verify_all(store: ReviewStore, masks: MaskStore) -> tuple[Verification, ...]:
    """Read every chain and every mask from the disk; sorted by image id."""
    return tuple(verify(image, store, masks) for image in sorted(store.files()))


def verify(image: str, store: ReviewStore, masks: MaskStore) -> Verification:
    """Read the chain of one image and the masks it names from the disk."""
    try:
        chain = store.chain(image)
    except ReviewsDamaged as error:
        return Verification(image, error.line - 1, False, str(error))
    except AnomaLabelError as error:
        return Verification(image, 0, False, str(error))
    problem = _mask_problem(image, chain, masks)
    return Verification(image, len(chain.events), not problem, problem or " ".join(chain.warnings))


def _mask_problem(image: str, chain: ReviewChain, masks: MaskStore) -> str:
    named = {event.segmentation.mask_sha256 for event in chain.events if event.segmentation is not None}
    for sha256 in sorted(named):
        try:
            masks.require(image, sha256)
        except AnomaLabelError as error:
            return str(error)
    return ""
