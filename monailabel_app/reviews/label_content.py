"""What the `final` label of a reviewed image holds, and what is told of it."""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

import numpy as np

from anomalabel.io.grid import Grid
from anomalabel.io.label_map import LabelArray
from monailabel_app.reviews.finding_outcome import FindingOutcome
from monailabel_app.reviews.outcome import CaseOutcome

logger = logging.getLogger(__name__)

LabelKind = Literal["segmentation", "boxes", "empty"]
BOX_LABEL = 1


def label_kind(outcome: CaseOutcome) -> LabelKind:
    """The corrected mask where there is one, else the accepted boxes; nothing for a normal image.

    `empty` for an abnormal image says that nobody told where: the verdict in the information counts, not the voxels.
    """
    if outcome.settled_verdict == "normal":
        return "empty"
    if outcome.segmentation is not None:
        return "segmentation"
    return "boxes" if any(finding.box for finding in outcome.accepted) else "empty"


def label_info(outcome: CaseOutcome) -> dict[str, Any]:
    """What the label's information says of a reviewed image, in plain JSON values."""
    kind = label_kind(outcome)
    info = {
        "verdict": outcome.settled_verdict,
        "reviewer": outcome.reviewer,
        "utc": None if outcome.utc is None else outcome.utc.isoformat(),
        "kind": kind,
        "findings": [_told(finding) for finding in outcome.accepted],
    }
    if kind == "segmentation" and outcome.segmentation is not None:
        info |= outcome.segmentation.model_dump(mode="json")
    # Through JSON, as the index keeps it, so that both can be compared.
    told: dict[str, Any] = json.loads(json.dumps(info))
    return told


def rasterise(boxes: tuple[FindingOutcome, ...], grid: Grid, image: str) -> LabelArray:
    """(Z, Y, X) uint8, 1 inside the boxes; what lies outside the grid is cut off.

    Args:
        boxes: findings; one without a box is left out.
        grid: of the image.
        image: for the log.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for finding in boxes:
        if finding.box is None:
            logger.warning("The finding %s of %s has no box and is not in its label.", finding.finding_id, image)
            continue
        low, high = finding.box
        inside = tuple(slice(max(first, 0), max(last + 1, 0)) for first, last in zip(low, high, strict=True))
        labels[inside[::-1]] = BOX_LABEL
    return labels


def _told(finding: FindingOutcome) -> dict[str, Any]:
    row = finding.row or {}
    return {
        "id": finding.finding_id,
        "label": row.get("label"),
        "score": row.get("score"),
        "index_min": row.get("index_min"),
        "index_max": row.get("index_max"),
        "user_made": finding.user_made,
        "edited": finding.edited,
    }
