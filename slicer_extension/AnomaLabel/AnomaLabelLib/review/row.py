"""A finding as the row that review events hold, and back."""

from __future__ import annotations

from ..errors import ReplyError
from ..server.json_fields import JsonFields
from ..server.report import Finding, read_finding
from ..translation import _

MODEL, BOX, SEGMENT = "model", "box", "segment"
LPS_TOLERANCE_MM = 0.01

Row = dict[str, object]
"""A finding of the schema `anomalabel.findings/1`, with `method` and `origin` where they are known."""


def finding_row(finding: Finding, method: str, origin: str = "") -> Row:
    """A finding as plain JSON values.

    Args:
        method: which one found it, "" where none did.
        origin: "model", "box" or "segment"; "" leaves it out.
    """
    x, y, z = finding.center_ras
    row: Row = {
        "id": finding.id,
        "label": finding.label,
        "score": finding.score,
        "mean_score": finding.mean_score,
        "uncertainty": finding.uncertainty,
        "volume_mm3": finding.volume_mm3,
        "peak_index": list(finding.peak_index),
        "index_min": list(finding.index_min),
        "index_max": list(finding.index_max),
        "center_ras": [x, y, z],
        # Adding 0 turns -0.0 into 0.0, which JSON would tell apart.
        "center_lps": [-x + 0.0, -y + 0.0, z],
        "size_mm": list(finding.size_mm),
        "axes_ras": [list(axis) for axis in finding.axes_ras],
    }
    if method:
        row["method"] = method
    if origin:
        row["origin"] = origin
    return row


def finding_of(row: Row) -> Finding:
    """The finding that a row holds, checked.

    Raises:
        ReplyError: a key is missing or malformed, the peak lies outside the box, the box has no extent or lies at
            negative indices, or the two centres are different places.
    """
    fields = _fields(row)
    finding = read_finding(fields, scored=False)
    corners = zip(finding.index_min, finding.peak_index, finding.index_max, strict=True)
    if not finding.id or not all(0 <= low <= peak <= high for low, peak, high in corners):
        raise _unreadable(_("a finding's box is none, or its peak lies outside"))
    if min(finding.size_mm) <= 0 or finding.volume_mm3 < 0:
        raise _unreadable(_("a finding's box has no size"))
    x, y, z = finding.center_ras
    expected = (-x, -y, z)
    if any(abs(a - b) > LPS_TOLERANCE_MM for a, b in zip(fields.point("center_lps"), expected, strict=True)):
        raise _unreadable(_("a finding's centre is in two places"))
    return finding


def method_of(row: Row) -> str:
    """Which method found it, "" where the row does not say.

    Raises:
        ReplyError: it says so in something else than text.
    """
    return _fields(row).optional_text("method")


def origin_of(row: Row) -> str:
    """Where the box comes from: "model", "box" or "segment", "" where the row does not say.

    Raises:
        ReplyError: it says so in something else than text.
    """
    return _fields(row).optional_text("origin")


def _fields(row: Row) -> JsonFields:
    return JsonFields(row, "row", _unreadable)


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("A reviewed finding cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
