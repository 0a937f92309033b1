"""`/reviews/`: what reviewers decided, a new decision, and the corrected masks that decisions name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, UploadFile
from fastapi.responses import FileResponse

from anomalabel.errors import ImageReadError
from monailabel_app.infers.detection_task import renamed
from monailabel_app.reviews.event import Review
from monailabel_app.reviews.verification import verify_all
from monailabel_app.safety.login import Owner, require_own_name
from monailabel_app.safety.names import refuse_unsafe_names, shortened
from monailabel_app.state import ServerState, State

router = APIRouter(prefix="/reviews", tags=["Reviews"], dependencies=[Depends(refuse_unsafe_names)])


@router.get("/")
def verification(state: State) -> dict[str, Any]:
    """Read every chain of events and every mask from the disk and tell whether they hold."""
    return {"images": [asdict(one) for one in verify_all(state.reviews, state.app.masks)]}


@router.post("/{image}")
def add(state: State, owner: Owner, image: str, review: Review) -> dict[str, Any]:
    """Keep an event; the answer, sent once it is on the disk, is the event as it was kept.

    Raises:
        AnomaLabelError: 422, the event cannot be kept, or names a mask that was not sent.
        HTTPException: 403, the login token is another reviewer's; 404, there is no such image.
    """
    require_own_name(owner, review.reviewer)
    path_of(state, image)
    if review.segmentation is not None:
        state.app.masks.require(image, review.segmentation.mask_sha256)
    kept = state.reviews.add(image, review)
    if state.app.label_copies is not None:
        state.app.label_copies.after_event(image)
    return kept.model_dump(mode="json")


@router.get("/{image}")
def events(state: State, image: str) -> dict[str, Any]:
    """All events of an image, oldest first, what they come to, and whether a crash cut one off.

    `verdict` is what a model may learn from: null until `state` is `reviewed`.
    """
    chain = state.reviews.chain(image)
    return {
        "image": image,
        "state": chain.outcome.state,
        "verdict": chain.verdict,
        "events": [event.model_dump(mode="json") for event in chain.events],
        "warnings": list(chain.warnings),
        "last_sha256": chain.last_sha256,
    }


@router.get("/{image}/masks/{sha256}")
def mask(state: State, image: str, sha256: str) -> FileResponse:
    """A corrected mask as it was sent.

    Raises:
        AnomaLabelError: 422, no such mask was kept.
    """
    found = state.app.masks.require(image, sha256)
    return FileResponse(found, media_type="application/octet-stream", filename=found.name)


@router.put("/{image}/masks/{sha256}")
def keep_mask(state: State, image: str, sha256: str, file: UploadFile) -> dict[str, Any]:
    """Keep a corrected mask, NRRD or NIfTI with whole numbers on the image's grid; send it before `segmented`.

    Args:
        image: id of a study.
        sha256: of the file's content; the same content sent twice is kept once.
        file: the mask.

    Raises:
        AnomaLabelError: 422, another hash, no label map, or another grid than the image's.
        HTTPException: 404, there is no such image.
    """
    source = path_of(state, image)
    with state.request_folder() as folder:
        try:
            state.app.masks.keep(image, sha256, file.file, source, folder)
        except ImageReadError as error:
            raise renamed(error, {str(source): image}) from error
    return {"image": image, "sha256": sha256}


def path_of(state: ServerState, image: str) -> Path:
    """Where an image lies.

    Raises:
        HTTPException: 404, there is none of that id.
    """
    found = state.app.datastore().get_image_uri(image)
    if not found:
        raise HTTPException(404, f"There is no image '{shortened(image)}'. GET /datastore/?output=all lists them.")
    return Path(found)
