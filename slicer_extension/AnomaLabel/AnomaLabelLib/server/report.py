"""The findings that come with a heatmap, schema `anomalabel.findings/1`, checked once on arrival."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..errors import ReplyError
from ..translation import _
from .json_fields import Index, JsonFields, Point

SCHEMA = "anomalabel.findings/1"
MAXIMUM_FINDINGS = 10_000
VERSION_DIGITS = 8


@dataclass(frozen=True)
class Finding:
    """One suspected region; indices are (i, j, k), inclusive; world values are RAS millimetres.

    `axes_ras` holds the unit directions of i, j and k; `size_mm` the edge lengths along them. The scores are None for
    a box that a reader drew where no method looked; a report always has them.
    """

    id: str
    label: str
    score: float | None
    mean_score: float | None
    uncertainty: float | None
    volume_mm3: float
    peak_index: Index
    index_min: Index
    index_max: Index
    center_ras: Point
    size_mm: Point
    axes_ras: tuple[Point, Point, Point]


@dataclass(frozen=True)
class Threshold:
    """A value, and in words how it was chosen and what it can promise."""

    value: float
    rule: str


@dataclass(frozen=True)
class HeatmapFacts:
    """Grid (X, Y, Z) and value range of the heatmap; slope and intercept only for a compact file."""

    grid: Index
    minimum: float
    maximum: float
    slope: float | None
    intercept: float | None


@dataclass(frozen=True)
class Report:
    """What the server says about one image; `text` is the JSON as it came.

    Args:
        threshold: heatmap values above belong to findings.
        image_threshold: an `image_score` above is abnormal; None where the method was not calibrated, or the server
            is older.
        model_version: first digits of the weights' SHA-256, which tells one training of a model from the next.
        minimum_volume_mm3: smaller regions above the threshold are no findings; None where the server is older.
    """

    image: str
    method: str
    model_name: str
    model_version: str
    config: str
    image_score: float
    calibrated: bool
    threshold: Threshold
    image_threshold: Threshold | None
    minimum_volume_mm3: float | None
    prompt_specificity: float | None
    nonfinite_voxels: int
    spacing_known: bool
    heatmap: HeatmapFacts
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    text: str


def parse_report(text: str) -> Report:
    """Read and check the findings JSON.

    Raises:
        ReplyError: not JSON, another schema, a missing key, a number that is not finite, or a box outside the grid.
    """
    try:
        fields = JsonFields(json.loads(text), "findings", _unreadable)
    except (ValueError, RecursionError) as error:
        raise _unreadable(_("it is not JSON")) from error
    schema = fields.text("schema")
    if schema != SCHEMA:
        raise ReplyError(
            _("The server sent findings of schema '{schema}'; this extension reads '{known}'.").format(
                schema=schema[:60], known=SCHEMA
            ),
            _("Update the extension and the server to the same version."),
        )
    heatmap = _heatmap(fields.inner("heatmap"))
    image_threshold = fields.optional_inner("image_threshold")
    rows = fields.inner_list("findings")
    if len(rows) > MAXIMUM_FINDINGS:
        raise _unreadable(_("it lists more than {count} findings").format(count=MAXIMUM_FINDINGS))
    return Report(
        image=fields.text("image"),
        method=fields.text("method"),
        model_name=fields.inner("model").text("name"),
        model_version=fields.inner("model").optional_text("weights_sha256")[:VERSION_DIGITS],
        config=fields.text("config"),
        image_score=fields.number("image_score"),
        calibrated=fields.flag("calibrated"),
        threshold=_threshold(fields.inner("threshold")),
        image_threshold=_threshold(image_threshold) if image_threshold is not None else None,
        minimum_volume_mm3=fields.optional_number("minimum_volume_mm3"),
        prompt_specificity=fields.optional_number("prompt_specificity"),
        nonfinite_voxels=fields.whole("nonfinite_voxels"),
        spacing_known=fields.flag("spacing_known"),
        heatmap=heatmap,
        findings=tuple(_finding(row, heatmap.grid) for row in rows),
        warnings=fields.texts("warnings"),
        text=text,
    )


def read_finding(fields: JsonFields, scored: bool = True) -> Finding:
    """The values of a finding; whether they fit each other is for the caller to say.

    Args:
        scored: whether both scores must be there; a box that a reader drew where nothing was seen has none.

    Raises:
        ReplyError: a key is missing or malformed.
    """
    score = fields.number if scored else fields.optional_number
    axes = fields.rows("axes_ras")
    return Finding(
        id=fields.text("id"),
        label=fields.text("label"),
        score=score("score"),
        mean_score=score("mean_score"),
        uncertainty=fields.optional_number("uncertainty"),
        volume_mm3=fields.number("volume_mm3"),
        peak_index=fields.index("peak_index"),
        index_min=fields.index("index_min"),
        index_max=fields.index("index_max"),
        center_ras=fields.point("center_ras"),
        size_mm=fields.point("size_mm"),
        axes_ras=(axes[0], axes[1], axes[2]),
    )


def _threshold(fields: JsonFields) -> Threshold:
    return Threshold(fields.number("value"), fields.text("rule"))


def _heatmap(fields: JsonFields) -> HeatmapFacts:
    facts = HeatmapFacts(
        grid=fields.index("grid"),
        minimum=fields.number("min"),
        maximum=fields.number("max"),
        slope=fields.optional_number("slope"),
        intercept=fields.optional_number("intercept"),
    )
    if (facts.slope is None) != (facts.intercept is None):
        raise _unreadable(_("slope and intercept of the heatmap must come together"))
    return facts


def _finding(fields: JsonFields, grid: Index) -> Finding:
    finding = read_finding(fields)
    inside = all(
        0 <= low <= peak <= high < size
        for low, peak, high, size in zip(finding.index_min, finding.peak_index, finding.index_max, grid, strict=True)
    )
    if not inside or min(finding.size_mm) <= 0:
        raise _unreadable(_("finding {id} lies outside the image").format(id=finding.id[:40]))
    return finding


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("The server's findings cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
