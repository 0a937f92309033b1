"""One act of a reviewer on one finding or one case, and the line of text it is kept as."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import PydanticSerializationError

from anomalabel.config import describe_validation
from anomalabel.errors import ConfigError
from anomalabel.finding import ModelIdentity, PromptTexts

FindingAction = Literal["accepted", "rejected", "edited", "added", "reopened", "withdrawn"]
CaseAction = Literal[
    "case_normal",
    "case_abnormal",
    "case_reopened",
    "second_reader",
    "second_reader_withdrawn",
    "read_normal",
    "read_abnormal",
    "segmented",
]
Action = FindingAction | CaseAction
Verdict = Literal["normal", "abnormal"]

CASE_ACTIONS: frozenset[str] = frozenset(get_args(CaseAction))

VERDICTS: dict[str, Verdict] = {"case_normal": "normal", "case_abnormal": "abnormal"}
"""What a case action says of the whole image; every other action says nothing of it."""

OWN_VERDICTS: dict[str, Verdict] = {"read_normal": "normal", "read_abnormal": "abnormal"}
"""What a reader thought before the model's hint was shown; it says nothing of the final verdict."""

State = dict[str, JsonValue]
"""A finding as it was or became: a row of `findings` of the schema `anomalabel.findings/1`, or what a client drew."""

SHA256 = "^[0-9a-f]{64}$"

NO_JSON = "The event holds what a line of JSON cannot keep."
PLAIN_VALUES = "Send finite numbers and whole UTF-8 texts, and lists and objects at most a hundred deep."


class Segmentation(BaseModel):
    """What `segmented` says: a corrected mask that lies on the server already.

    Args:
        mask_sha256: of the mask's file, under which it was sent.
        finding_ids: of the findings it marks.
        segments: names, in the order of the mask's values from 1 on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask_sha256: str = Field(pattern=SHA256)
    finding_ids: tuple[str, ...] = Field(default=(), max_length=10_000)
    segments: tuple[str, ...] = Field(default=(), max_length=10_000)


class Review(BaseModel):
    """What a client says: everything of an event but its place in the chain.

    A finding's action names the finding, a case's action names none. `edited` has both states, `added` only the one
    after, `withdrawn` (an added finding taken back) none after, `segmented` a `Segmentation` after. A client that asks
    twice with the same `event_id`, since the first answer got lost, adds one event.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    event_id: uuid.UUID = Field(default_factory=uuid.uuid4)
    reviewer: str = Field(min_length=1, max_length=200)
    action: Action
    finding_id: str | None = Field(default=None, min_length=1, max_length=200)
    before: State | None = None
    after: State | None = None
    reason: str | None = Field(default=None, max_length=200, description="why a finding is rejected")
    undoes: uuid.UUID | None = Field(default=None, description="the event that this one takes back; information only")
    acted_utc: AwareDatetime | None = Field(default=None, description="when the reviewer acted, by the client's clock")
    findings_sha256: str | None = Field(default=None, pattern=SHA256, description="of the report reviewed")
    model: ModelIdentity | None = Field(default=None, description="whose findings were reviewed")
    prompts: PromptTexts | None = None
    client: str = Field(default="", max_length=200, description="program and version")

    @property
    def segmentation(self) -> Segmentation | None:
        """What a `segmented` event says, None for any other."""
        return Segmentation.model_validate(self.after) if self.action == "segmented" else None

    @model_validator(mode="after")
    def _fits_its_action(self) -> Review:
        about_case = self.action in CASE_ACTIONS
        if about_case and self.finding_id is not None:
            raise ValueError(f"{self.action} is about the case: leave finding_id out")
        if not about_case and self.finding_id is None:
            raise ValueError(f"{self.action} is about a finding: give its finding_id")
        if self.reason is not None and self.action != "rejected":
            raise ValueError(f"{self.action} takes no reason: only rejected does")
        self._has_its_states(about_case)
        return self

    def _has_its_states(self, about_case: bool) -> None:
        if self.action == "segmented":
            _require_segmentation(self.before, self.after)
        elif about_case and (self.before is not None or self.after is not None):
            raise ValueError(f"{self.action} has no state before or after")
        if self.action == "edited" and (self.before is None or self.after is None):
            raise ValueError("edited needs the finding before and after")
        if self.action == "added" and (self.before is not None or self.after is None):
            raise ValueError("added needs the finding after, and none before")
        if self.action == "withdrawn" and self.after is not None:
            raise ValueError("withdrawn takes the finding away: leave after out")


class ReviewEvent(Review):
    """An event in the chain of its image.

    Args:
        utc: when the server took it.
        image: id of the image.
        previous_sha256: SHA-256 of the line before without its line end, None for the first.
    """

    utc: datetime
    image: str
    previous_sha256: str | None = Field(pattern=SHA256)

    @property
    def happened_utc(self) -> datetime:
        """When the reviewer acted, as far as the client said; else when the server heard of it."""
        return self.acted_utc or self.utc

    def to_line(self) -> bytes:
        """The event as one line of JSON, line end included; read again, it is this event.

        Raises:
            ConfigError: it holds what would be lost or could not be read again, which would damage its chain.
        """
        try:
            line = self.model_dump_json().encode()
            kept = ReviewEvent.model_validate_json(line) == self
        except (PydanticSerializationError, ValidationError):
            kept = False
        if not kept:
            raise ConfigError(NO_JSON, PLAIN_VALUES)
        return line + b"\n"


def event_of(review: Review, image: str, previous_sha256: str | None) -> ReviewEvent:
    """A review with its place in the chain of `image`.

    Raises:
        ConfigError: its states hold a number that is not finite.
    """
    now = datetime.now(timezone.utc)
    try:
        return ReviewEvent(**review.model_dump(), utc=now, image=image, previous_sha256=previous_sha256)
    except ValidationError as error:
        raise ConfigError(NO_JSON, PLAIN_VALUES) from error


def _require_segmentation(before: State | None, after: State | None) -> None:
    if before is not None:
        raise ValueError("segmented has no state before")
    try:
        Segmentation.model_validate(after)
    except ValidationError as error:
        raise ValueError(
            f'segmented needs after = {{"mask_sha256", "finding_ids", "segments"}} ({describe_validation(error)})'
        ) from error
