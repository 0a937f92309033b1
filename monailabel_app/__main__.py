"""`python -m monailabel_app STUDIES`: the server as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anomalabel.config import EMBEDDED
from anomalabel.errors import AnomaLabelError
from monailabel_app.server import serve
from monailabel_app.settings import ServerSettings


def main() -> int:
    """Serve; exit code 2 with one line on standard error for settings that do not work."""
    parser = argparse.ArgumentParser(prog="python -m monailabel_app", description=__doc__)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--backbone", action="append", dest="backbones")
    given = parser.parse_args()
    try:
        serve(
            ServerSettings(given.studies, given.host, given.port, given.device, tuple(given.backbones or (EMBEDDED,)))
        )
    except AnomaLabelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
