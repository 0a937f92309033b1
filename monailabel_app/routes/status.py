"""Whether the server is ready, how far a request is, and what the server offers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from anomalabel import __version__
from monailabel_app.safety.login import Owner
from monailabel_app.safety.names import refuse_unsafe_names
from monailabel_app.state import State

router = APIRouter(tags=["Status"], dependencies=[Depends(refuse_unsafe_names)])


@router.get("/")
async def name() -> dict[str, str]:
    """Who answers here."""
    return {"name": "AnomaLabel", "version": __version__, "use": "research only, not for clinical use"}


@router.get("/ready")
async def ready(state: State) -> dict[str, Any]:
    """The loaded backbones.

    Raises:
        HTTPException: 503 with the reason while they are loaded, or when that failed.
    """
    state.warm_up.require()
    return {"ready": True, "backbones": list(state.warm_up.backbones)}


@router.get("/info/")
def info(state: State, owner: Owner) -> dict[str, Any]:
    """MONAI Label's description of the app and, under `anomalabel`, what our own client needs, and who it is."""
    told = state.app.info()
    told["anomalabel"] |= {"login": state.settings.tokens is not None, "reviewer": owner}
    return told


@router.get("/progress/{request_id}")
async def progress(state: State, request_id: str) -> dict[str, Any]:
    """How far a request is; `done` and `total` are counted in slices, both 0 before it runs."""
    job = state.queue.find(request_id)
    return {"request_id": request_id, "running": job.running, "done": job.done, "total": job.total}


@router.delete("/progress/{request_id}")
async def cancel(state: State, request_id: str) -> dict[str, Any]:
    """Cancel a request; its own reply is then 409."""
    state.queue.find(request_id).cancel()
    return {"request_id": request_id, "cancelled": True}
