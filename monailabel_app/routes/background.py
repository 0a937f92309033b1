"""How routes of background work tell its status and cancel it."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from monailabel_app.background.work import BackgroundWork


def told_status(work: BackgroundWork, as_list: bool = False, only_running: bool = False) -> Any:
    """The status of what runs or ran last, in MONAI Label's words and some of our own.

    Args:
        as_list: as MONAI Label answers.
        only_running: answer 404 unless one runs.

    Raises:
        HTTPException: 404, there is none.
    """
    found = work.status
    if found is None or (only_running and not work.running):
        raise HTTPException(404, f"No {work.kind} runs." if only_running else f"There was no {work.kind} yet.")
    told = found.model_dump(mode="json")
    return [told] if as_list else told


def cancel_work(work: BackgroundWork) -> dict[str, Any]:
    """Ask what runs to stop; the answer is its status.

    Raises:
        HTTPException: 404, none runs.
    """
    found = work.cancel()
    if found is None:
        raise HTTPException(404, f"No {work.kind} runs.")
    return found.model_dump(mode="json")
