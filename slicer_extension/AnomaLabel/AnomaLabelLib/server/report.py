"""The findings that come with a heatmap, schema `anomalabel.findings/1`, checked once on arrival."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from ..errors import ReplyError
from ..translation import _

SCHEMA = "anomalabel.findings/1"
MAXIMUM_FINDINGS = 10_000

Index = tuple[int, int, int]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Finding:
    """One suspected region; indices are (i, j, k), inclusive; world values are RAS millimetres.

    `axes_ras` holds the unit directions of i, j and k; `size_mm` the edge lengths along them.
    """

    id: str
    label: str
    score: float
    mean_score: float
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
    """

    image: str
    method: str
    model_name: str
    config: str
    image_score: float
    calibrated: bool
    threshold: Threshold
    image_threshold: Threshold | None
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
        fields = _Fields(json.loads(text), "findings")
    except ValueError as error:
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
        config=fields.text("config"),
        image_score=fields.number("image_score"),
        calibrated=fields.flag("calibrated"),
        threshold=_threshold(fields.inner("threshold")),
        image_threshold=_threshold(image_threshold) if image_threshold is not None else None,
        prompt_specificity=fields.optional_number("prompt_specificity"),
        nonfinite_voxels=fields.whole("nonfinite_voxels"),
        spacing_known=fields.flag("spacing_known"),
        heatmap=heatmap,
        findings=tuple(_finding(row, heatmap.grid) for row in rows),
        warnings=fields.texts("warnings"),
        text=text,
    )


def _threshold(fields: _Fields) -> Threshold:
    return Threshold(fields.number("value"), fields.text("rule"))


def _heatmap(fields: _Fields) -> HeatmapFacts:
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


def _finding(fields: _Fields, grid: Index) -> Finding:
    axes = fields.rows("axes_ras")
    finding = Finding(
        id=fields.text("id"),
        label=fields.text("label"),
        score=fields.number("score"),
        mean_score=fields.number("mean_score"),
        uncertainty=fields.optional_number("uncertainty"),
        volume_mm3=fields.number("volume_mm3"),
        peak_index=fields.index("peak_index"),
        index_min=fields.index("index_min"),
        index_max=fields.index("index_max"),
        center_ras=fields.point("center_ras"),
        size_mm=fields.point("size_mm"),
        axes_ras=(axes[0], axes[1], axes[2]),
    )
    inside = all(
        0 <= low <= peak <= high < size
        for low, peak, high, size in zip(finding.index_min, finding.peak_index, finding.index_max, grid, strict=True)
    )
    if not inside or min(finding.size_mm) <= 0:
        raise _unreadable(_("finding {id} lies outside the image").format(id=finding.id[:40]))
    return finding


class _Fields:
    """Typed access to one JSON object; says which key is wrong."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise _unreadable(_("{where} is not an object").format(where=where))
        self._values = values
        self._where = where

    def text(self, key: str) -> str:
        return self._typed(key, str)

    def flag(self, key: str) -> bool:
        return self._typed(key, bool)

    def number(self, key: str) -> float:
        return self._finite(key, self._get(key))

    def optional_number(self, key: str) -> float | None:
        value = self._values.get(key)
        return None if value is None else self._finite(key, value)

    def whole(self, key: str) -> int:
        return self._integer(key, self._get(key))

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key)
        return tuple(values)

    def index(self, key: str) -> Index:
        i, j, k = (self._integer(key, value) for value in self._list(key, 3))
        return i, j, k

    def point(self, key: str) -> Point:
        return self._point(key, self._list(key, 3))

    def rows(self, key: str) -> list[Point]:
        return [self._point(key, row) for row in self._list(key, 3)]

    def inner(self, key: str) -> _Fields:
        return _Fields(self._get(key), f"{self._where}.{key}")

    def optional_inner(self, key: str) -> _Fields | None:
        return None if self._values.get(key) is None else self.inner(key)

    def inner_list(self, key: str) -> list[_Fields]:
        return [_Fields(value, f"{self._where}.{key}[{place}]") for place, value in enumerate(self._list(key))]

    def _get(self, key: str) -> object:
        if key not in self._values:
            raise self._wrong(key)
        return self._values[key]

    def _typed(self, key: str, kind: type) -> object:
        value = self._get(key)
        if not isinstance(value, kind):
            raise self._wrong(key)
        return value

    def _list(self, key: str, length: int | None = None) -> list:
        value = self._typed(key, list)
        if length is not None and len(value) != length:
            raise self._wrong(key)
        return value

    def _point(self, key: str, row: object) -> Point:
        if not isinstance(row, list) or len(row) != 3:
            raise self._wrong(key)
        x, y, z = (self._finite(key, value) for value in row)
        return x, y, z

    def _finite(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._wrong(key)
        return float(value)

    def _integer(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key)
        return value

    def _wrong(self, key: str) -> ReplyError:
        return _unreadable(_("{where}.{key} is missing or malformed").format(where=self._where, key=key))


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("The server's findings cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
