"""Findings and events for the tests of reviewing."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

from AnomaLabelLib.review.acts import ActContext
from AnomaLabelLib.review.event import ReviewEvent
from AnomaLabelLib.review.matching import ShownFinding
from AnomaLabelLib.review.row import finding_row
from AnomaLabelLib.server.report import Finding

START = datetime(2026, 3, 1, 9, 0, tzinfo=timezone.utc)
IMAGE = "head-7"


def finding(name: str = "a", low=(10, 20, 30), high=(19, 29, 39), **changes) -> Finding:
    """A finding on a grid of 1 x 1 x 2 mm voxels without rotation, first voxel at the origin."""
    size = [b - a + 1 for a, b in zip(low, high, strict=True)]
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    values = {
        "id": name,
        "label": f"anomaly {name}",
        "score": 0.75,
        "mean_score": 0.5,
        "uncertainty": None,
        "volume_mm3": float(2 * size[0] * size[1] * size[2]),
        "peak_index": tuple((a + b) // 2 for a, b in zip(low, high, strict=True)),
        "index_min": tuple(low),
        "index_max": tuple(high),
        "center_ras": (middle[0], middle[1], 2 * middle[2]),
        "size_mm": (float(size[0]), float(size[1]), 2.0 * size[2]),
        "axes_ras": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    }
    return Finding(**{**values, **changes})


def row(name: str = "a", low=(10, 20, 30), high=(19, 29, 39), **changes) -> dict:
    """The same as a row of method "clap"."""
    return {**finding_row(finding(name, low, high), "clap", "model"), **changes}


def shown(name: str = "a", status: str = "open", **changes) -> ShownFinding:
    """The same as the table shows it."""
    return ShownFinding(finding(name), status, method="clap", origin="model", **changes)


def event(action: str, finding_id: str | None = None, minute: int = 0, reviewer: str = "anna", **values) -> ReviewEvent:
    """An event, `minute` minutes after nine."""
    values.setdefault("event_id", str(uuid.uuid4()))
    return ReviewEvent(
        image=IMAGE,
        reviewer=reviewer,
        action=action,
        finding_id=finding_id,
        acted_utc=START + timedelta(minutes=minute),
        **values,
    )


def context(reviewer: str = "anna") -> ActContext:
    """The context of acts at nine o'clock."""
    return ActContext(
        image=IMAGE,
        reviewer=reviewer,
        client="AnomaLabel 1.0",
        findings_sha256="ab" * 32,
        model={"name": "embedded", "weights_sha256": "0" * 64},
        prompts={"positive": ["Glioma"], "negative": ["Normal"]},
        clock=lambda: START,
    )
