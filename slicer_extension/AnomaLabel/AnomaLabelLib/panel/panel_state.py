"""Everything the panel shows, as one frozen value that the widget draws."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..server.report import Finding
from ..server.server_facts import ServerFacts


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
    image_score: str = ""
    threshold_rule: str = ""
    maps: tuple[str, ...] = ()


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
