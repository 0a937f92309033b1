"""Everything the panel shows, as one frozen value that the widget draws."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..scene.color_scale import Legend
from ..server.parameters import RunParameters
from ..server.report import Finding
from ..server.server_facts import ServerFacts
from ..server.training import TrainingFacts
from ..server.worklist import Worklist, WorklistCase


@dataclass(frozen=True)
class Notice:
    """A sentence for the user: what is the case, and what to do about it ("" where there is nothing to do)."""

    cause: str
    remedy: str = ""
    is_error: bool = False


@dataclass(frozen=True)
class ShownRun:
    """The result that the panel is about.

    Args:
        minimum, maximum: range of the heatmap, for the threshold slider.
        decimals: of scores and thresholds, enough to tell apart what the heatmap's range tells apart.
        unseen: how much was not looked at and what that means.
        model: which method and model answered.
        config: for which anatomy it was asked.
        image_score: how the whole image compares with healthy ones, "" where nobody knows.
        threshold_rule: how the threshold was chosen and what it promises, in the server's words.
        maps: kinds of maps that the method gave beside the heatmap.
    """

    id: str
    name: str
    findings: tuple[Finding, ...]
    minimum: float
    maximum: float
    threshold: float
    decimals: int
    warnings: tuple[str, ...]
    unseen: str
    model: str
    config: str = ""
    image_score: str = ""
    threshold_rule: str = ""
    maps: tuple[str, ...] = ()


@dataclass(frozen=True)
class FindingRow:
    """One line of the findings table.

    Args:
        number: of the line, counted from 1.
        finding: what the line is about; its box is the reader's own once edited.
        status: "open", "accepted" or "rejected".
        method: which method found it; "" for one that the reader made.
        note: "rejected before", a reason, "edited" and the like, for people.
        reviewed: whether an event is kept about it, so that no run may change it.
    """

    number: int
    finding: Finding
    status: str
    method: str = ""
    note: str = ""
    user_made: bool = False
    reviewed: bool = False


@dataclass(frozen=True)
class FindingsState:
    """The findings table.

    Args:
        rows: as sorted.
        selected: id of the finding that the views show, "" for none.
        column: sorted by this name, see `review.order`.
        left_out: regions above the threshold that are too many to be listed.
        edited: id of the finding whose box is being dragged, "" for none.
    """

    rows: tuple[FindingRow, ...] = ()
    selected: str = ""
    column: str = "score"
    descending: bool = True
    left_out: int = 0
    edited: str = ""

    @property
    def counts(self) -> tuple[int, int, int]:
        """(open, accepted, rejected) findings."""
        statuses = [row.status for row in self.rows]
        return statuses.count("open"), statuses.count("accepted"), statuses.count("rejected")

    def place(self, finding_id: str) -> int:
        """The line of a finding, -1 where it is not listed."""
        return next((place for place, row in enumerate(self.rows) if row.finding.id == finding_id), -1)


@dataclass(frozen=True)
class CaseState:
    """The case under review.

    Args:
        image: id of the study, "" while none is open.
        verdict: "normal", "abnormal" or ""; "" as well while `hidden`.
        verdict_text: whose verdict it is and when it was said.
        own_verdict: what the reader said before the hint was shown, "" where nothing was said.
        hidden: whether heatmap, boxes and scores are withheld until the reader has committed an own verdict.
        second_reader: whether a second reader is asked for.
        undo, redo: what the next undo and redo would do, "" for nothing.
        reasons: why a finding may be rejected, as the server's config names it.
        segments: findings that were turned into segments.
        segments_sent: whether the server, or the queue on the way to it, holds the segments as they are now.
    """

    image: str = ""
    verdict: str = ""
    verdict_text: str = ""
    own_verdict: str = ""
    hidden: bool = False
    second_reader: bool = False
    undo: str = ""
    redo: str = ""
    reasons: tuple[str, ...] = ()
    segments: int = 0
    segments_sent: bool = True


@dataclass(frozen=True)
class WorklistState:
    """The server's cases.

    Args:
        worklist: as the server last told, None before.
        cases: those that pass filter and search, in the server's order.
        order: that was asked for.
        filter: "all", or a state of cases.
        search: text that the names of the shown cases contain.
        notice: what the server says of the order, or why the list is old.
    """

    worklist: Worklist | None = None
    cases: tuple[WorklistCase, ...] = ()
    order: str = "first"
    filter: str = "all"
    search: str = ""
    notice: Notice = field(default_factory=lambda: Notice(""))


@dataclass(frozen=True)
class OutboxState:
    """What was reviewed and has not reached the server yet.

    Args:
        pending: acts on this computer's disk that still have to be sent.
        refused: acts that the server will not take; they stay on disk.
        reasons: why it will not take them, oldest first.
        notice: what that means, "" while everything has arrived.
    """

    pending: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()
    notice: Notice = field(default_factory=lambda: Notice(""))


@dataclass(frozen=True)
class TrainingState:
    """The server's training, and the scoring of its studies."""

    training: TrainingFacts | None = None
    scoring: TrainingFacts | None = None
    notice: Notice = field(default_factory=lambda: Notice(""))


@dataclass(frozen=True)
class PanelState:
    """What is drawn; the widget holds nothing else but what a user types."""

    server: ServerFacts | None = None
    server_notice: Notice = field(default_factory=lambda: Notice(""))
    notice: Notice = field(default_factory=lambda: Notice(""))
    busy: bool = False
    progress: tuple[int, int] | None = None
    runs: tuple[tuple[str, str], ...] = ()
    """(id, name) of the results in the scene, oldest first."""
    run: ShownRun | None = None
    heatmap_visible: bool = True
    unseen_visible: bool = True
    boxes_visible: bool = True
    instead: str = ""
    """Kind of the map that is shown in place of the heatmap, where the shown run has it; "" for none."""
    opacity: float = 0.6
    uncertainty_visible: bool = False
    compared: int = 0
    """0: one result in all views; 1: several side by side; 2: blended."""
    blend: float = 0.5
    """Weight of the shown result against the others, in [0, 1], where they are blended."""
    reading_first: bool = False
    asked: RunParameters | None = None
    """What the last session asked for; the widgets take it up."""
    address: str = ""
    """Of the server that was last asked."""
    legend: Legend | None = None
    uncertainty_legend: Legend | None = None
    findings: FindingsState = field(default_factory=FindingsState)
    case: CaseState = field(default_factory=CaseState)
    worklist: WorklistState = field(default_factory=WorklistState)
    outbox: OutboxState = field(default_factory=OutboxState)
    training: TrainingState = field(default_factory=TrainingState)
