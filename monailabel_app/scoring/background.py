"""One scoring at a time, beside inference."""

from __future__ import annotations

from typing import Any

from monailabel_app.background.status import WorkStatus
from monailabel_app.background.work import BackgroundWork


class BackgroundScoring(BackgroundWork):
    """Runs scorings; see `BackgroundWork`."""

    kind = "scoring"
    route = "/scoring/"

    def finished(self, report: dict[str, Any]) -> str:
        """How many studies have a score now."""
        return f"Studies scored: {report['scored']}, skipped: {len(report['skipped'])}."

    def stopped(self, status: WorkStatus) -> str:
        """What is kept, and how to go on."""
        return "The scoring was cancelled; scores so far are kept. Start it again for the studies without one."

    def interrupted(self, status: WorkStatus) -> str:
        """What is kept, and how to go on."""
        return "The server ended during this scoring. Scores so far are kept; start it again for the others."
