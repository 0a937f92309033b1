"""Sessions: images that a client uploads once and refers to in several requests."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, UploadFile

from anomalabel.errors import ConfigError
from monailabel_app.safety.names import checked_name, refuse_unsafe_names
from monailabel_app.safety.uploads import save_upload
from monailabel_app.state import State

router = APIRouter(prefix="/session", tags=["Session"], dependencies=[Depends(refuse_unsafe_names)])

_change = threading.Lock()


@router.put("/")
def create(state: State, files: list[UploadFile], uncompress: bool = False, expiry: int = 0) -> dict[str, Any]:
    """Keep one image, or a zipped DICOM series, for `expiry` seconds, at most an hour.

    Raises:
        ConfigError: several files, or MONAI Label's unpacking was asked for.
    """
    if len(files) != 1 or uncompress:
        raise ConfigError(
            "A session takes one file and unpacks nothing on request.", "Send one image, or a DICOM series as .zip."
        )
    sessions = state.app.sessions()
    with state.request_folder() as folder, _change:
        path = save_upload(files[0].file, files[0].filename or "", folder, state.settings.maximum_upload_bytes)
        state.app.cleanup_sessions()
        session_id, session = sessions.add_session(str(path), expiry)
    return {"session_id": session_id, "session_info": _public(session.to_json())}


@router.get("/{session_id}")
def find(state: State, session_id: str) -> dict[str, Any]:
    """What is known of a session."""
    session = state.app.sessions().get_session(checked_name(session_id, "session id"), update_ts=False)
    if session is None:
        raise HTTPException(404, "There is no such session.")
    return _public(session.to_json())


@router.delete("/{session_id}")
def remove(state: State, session_id: str) -> dict[str, Any]:
    """Forget a session and its image."""
    found = find(state, session_id)
    with _change:
        state.app.sessions().remove_session(session_id)
    return found


def _public(session: dict[str, Any]) -> dict[str, Any]:
    """A session's facts without the folders of this machine."""
    return {key: value for key, value in session.items() if key not in {"path", "image"}}
