"""One training at a time, beside inference."""

from __future__ import annotations

from typing import Any

from monailabel_app.background.status import WorkStatus
from monailabel_app.background.work import BackgroundWork


class BackgroundTraining(BackgroundWork):
    """Runs trainings; see `BackgroundWork`."""

    kind = "training"
    route = "/train/"

    def finished(self, report: dict[str, Any]) -> str:
        """The model is in its place already."""
        return "The new model is in use."

    def stopped(self, status: WorkStatus) -> str:
        """Whether it goes on from a checkpoint."""
        goes_on = " The same request goes on from its last checkpoint." if status.resumes else ""
        return f"The training was cancelled; a model from before stays in use.{goes_on}"

    def interrupted(self, status: WorkStatus) -> str:
        """Which model is in use, and what to do."""
        remedy = "Start the training again."
        if status.resumes:
            remedy = "Start it again with the same request: it goes on from its last checkpoint."
        return (
            "The server ended during this training. The model in use is whole: the one from before, or the new one if "
            f"it was just written. {remedy}"
        )
