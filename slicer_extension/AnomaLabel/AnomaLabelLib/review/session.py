"""Where the reader was, so that work goes on there after Slicer was closed or ended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .journal_error import journal_error

SESSION_NAME = "session.json"


@dataclass(frozen=True)
class SavedSession:
    """Case, finding and choices of the panel; "" where nothing was chosen.

    Args:
        address: of the server.
        reviewer: name.
        image: id of the open case.
        finding_id: of the selected finding.
        order: of the worklist.
        filter_text: searched for in the worklist.
        filter_state: shown in the worklist.
        question: what a run asks for, as `RunParameters.to_text` writes it.
        threshold: from which map value on heatmap and boxes were shown, as a number's text.
    """

    address: str = ""
    reviewer: str = ""
    image: str = ""
    finding_id: str = ""
    order: str = ""
    filter_text: str = ""
    filter_state: str = ""
    question: str = ""
    threshold: str = ""


def save(session: SavedSession, folder: Path) -> None:
    """Keep a session in the journal's folder in place of the one before.

    It is not synced to the disk: this runs on each jump, ending Slicer costs nothing that was handed to the system,
    and after a power cut a session that cannot be read is no more than a case to be opened by hand.

    Raises:
        JournalError: it cannot be written; the one before stays.
    """
    unfinished = folder / f"{SESSION_NAME}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(asdict(session)), encoding="utf-8")
        unfinished.replace(folder / SESSION_NAME)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise journal_error(error, folder) from error


def load(folder: Path) -> SavedSession | None:
    """The session that was saved last, None where there is none or it cannot be read.

    What a newer version saved besides is passed over; what an older one did not know yet is as if not chosen.
    """
    try:
        values = json.loads((folder / SESSION_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    known = {field.name: values[field.name] for field in fields(SavedSession) if field.name in values}
    right = all(isinstance(value, type(getattr(SavedSession, name))) for name, value in known.items())
    return SavedSession(**known) if right else None
