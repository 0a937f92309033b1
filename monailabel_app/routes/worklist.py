"""`/worklist`: all studies in an order, and who has which of them open."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from monailabel_app.routes.reviews import path_of
from monailabel_app.safety.login import Owner, require_own_name
from monailabel_app.safety.names import refuse_unsafe_names
from monailabel_app.state import State
from monailabel_app.worklist.leases import LeaseTaken
from monailabel_app.worklist.orders import OrderName

router = APIRouter(prefix="/worklist", tags=["Worklist"], dependencies=[Depends(refuse_unsafe_names)])

LARGEST_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps."""


class LeaseRequest(BaseModel):
    """Who opens a case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reviewer: str = Field(min_length=1, max_length=200)
    client: str = Field(min_length=1, max_length=200, description="another text for each running client")


@router.get("")
def worklist(
    state: State,
    order: OrderName = "first",
    seed: Annotated[int, Query(ge=0, le=LARGEST_SEED)] = 0,
    client: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """All studies with state, scores and lease.

    Args:
        order: `first`, `random`, `most_anomalous`, `most_uncertain` or `most_disagreement`.
        seed: of `random`; the same seed gives the same order.
        client: whose leases are marked as its own.
    """
    listing = state.app.worklist.listing(state.app.datastore().list_images(), order, seed, client)
    return Response(listing.model_dump_json(), media_type="application/json")


@router.post("/{image}/lease")
def take(state: State, owner: Owner, image: str, wanted: LeaseRequest) -> dict[str, Any]:
    """Open a case, or renew the own lease; it ends by itself and never keeps a review from being stored.

    Raises:
        HTTPException: 403, the login token is another reviewer's; 404, there is no such image; 409, another client
            has it open.
    """
    require_own_name(owner, wanted.reviewer)
    path_of(state, image)
    leases = state.app.leases
    try:
        lease = leases.take(image, wanted.reviewer, wanted.client)
    except LeaseTaken as error:
        raise HTTPException(409, str(error)) from error
    return {"image": image, "reviewer": lease.reviewer, "until_utc": lease.until_utc, "seconds": leases.seconds}


@router.delete("/{image}/lease")
def give_back(state: State, image: str, client: Annotated[str, Query(min_length=1, max_length=200)]) -> dict[str, Any]:
    """Close a case; another client's lease stays."""
    return {"image": image, "released": state.app.leases.give_back(image, client)}
