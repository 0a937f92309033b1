"""Where the hospital's own ontology lies."""

from __future__ import annotations

import os
from pathlib import Path

ONTOLOGY_VARIABLE = "ANOMALABEL_ONTOLOGY"
FILE = Path("anomalabel") / "ontology.sqlite"


def ontology_path() -> Path:
    """$ANOMALABEL_ONTOLOGY, or ontology.sqlite in the user's data folder ($XDG_DATA_HOME, ~/.local/share)."""
    named = os.environ.get(ONTOLOGY_VARIABLE)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / FILE
