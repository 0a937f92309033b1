"""`/reviews/{image}`: what reviewers decided on an image, and a new decision."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, HTTPException

from monailabel_app.reviews.event import Review
from monailabel_app.safety.names import refuse_unsafe_names, shortened
from monailabel_app.state import State

router = APIRouter(prefix="/reviews", tags=["Reviews"], dependencies=[Depends(refuse_unsafe_names)])


@router.post("/{image}")
def add(state: State, image: str, review: Review) -> dict[str, Any]:
    """Keep an event; the answer, sent once it is on the disk, is the event as it was kept.

    Raises:
        AnomaLabelError: 422, the event cannot be kept.
        HTTPException: 404, there is no such image.
    """
    if not state.app.datastore().get_image_uri(image):
        raise HTTPException(404, f"There is no image '{shortened(image)}'. GET /datastore/?output=all lists them.")
    return state.reviews.add(image, review).model_dump(mode="json")


@router.get("/{image}")
def events(state: State, image: str) -> dict[str, Any]:
    """All events of an image, oldest first, what they say of the whole image, and whether a crash cut one off."""
    chain = state.reviews.chain(image)
    return {
        "image": image,
        "verdict": chain.verdict,
        "events": [event.model_dump(mode="json") for event in chain.events],
        "warnings": ["A crash cut off an event before it was kept; review again."] if chain.torn else [],
    }
