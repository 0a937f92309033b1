"""One act of a reviewer on one finding or one case, and the line of text it is kept as."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from anomalabel.finding import ModelIdentity, PromptTexts

FindingAction = Literal["accepted", "rejected", "edited", "added", "reopened"]
CaseAction = Literal["case_normal", "case_abnormal"]
Action = FindingAction | CaseAction
Verdict = Literal["normal", "abnormal"]

VERDICTS: dict[str, Verdict] = {"case_normal": "normal", "case_abnormal": "abnormal"}
"""What a case action says of the whole image; every other action says nothing of it."""

State = dict[str, JsonValue]
"""A finding as it was or became: a row of `findings` of the schema `anomalabel.findings/1`, or what a client drew."""


class Review(BaseModel):
    """What a client says: everything of an event but its place in the chain.

    A finding's action names the finding, a case's action names none. `edited` has both states, `added` only the one
    after. A client that asks twice with the same `event_id`, since the first answer got lost, adds one event.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    event_id: uuid.UUID = Field(default_factory=uuid.uuid4)
    reviewer: str = Field(min_length=1, max_length=200)
    action: Action
    finding_id: str | None = Field(default=None, min_length=1, max_length=200)
    before: State | None = None
    after: State | None = None
    findings_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="of the report reviewed")
    model: ModelIdentity | None = Field(default=None, description="whose findings were reviewed")
    prompts: PromptTexts | None = None
    client: str = Field(default="", max_length=200, description="program and version")

    @model_validator(mode="after")
    def _fits_its_action(self) -> Review:
        about_case = self.action in VERDICTS
        if about_case and self.finding_id is not None:
            raise ValueError(f"{self.action} is about the case: leave finding_id out")
        if not about_case and self.finding_id is None:
            raise ValueError(f"{self.action} is about a finding: give its finding_id")
        if about_case and (self.before is not None or self.after is not None):
            raise ValueError(f"{self.action} has no state before or after")
        if self.action == "edited" and (self.before is None or self.after is None):
            raise ValueError("edited needs the finding before and after")
        if self.action == "added" and (self.before is not None or self.after is None):
            raise ValueError("added needs the finding after, and none before")
        return self


class ReviewEvent(Review):
    """An event in the chain of its image.

    Args:
        utc: when the server took it.
        image: id of the image.
        previous_sha256: SHA-256 of the line before without its line end, None for the first.
    """

    utc: datetime
    image: str
    previous_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")

    def to_line(self) -> bytes:
        """The event as one line of JSON, line end included."""
        return self.model_dump_json().encode() + b"\n"


def event_of(review: Review, image: str, previous_sha256: str | None) -> ReviewEvent:
    """A review with its place in the chain of `image`."""
    now = datetime.now(timezone.utc)
    return ReviewEvent(**review.model_dump(), utc=now, image=image, previous_sha256=previous_sha256)
