"""Boxes in YOLO's text format, as array indices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import Box

FIELDS = ("class", "cx", "cy", "w", "h")
TOLERANCE = 0.01
"""Rounded boxes at the border may reach beyond the image by this share of it."""


@dataclass(frozen=True)
class RelativeBox:
    """Middle and size as shares of the image's width (x) and height (y), in [0, 1]."""

    center_x: float
    center_y: float
    width: float
    height: float

    def in_indices(self, rows: int, columns: int) -> Box:
        """The pixels it covers, (row, column), ends inclusive: its edges go to the nearest border between pixels.

        Rounding, not widening to every pixel that is touched, gives a box back that was written with few digits. At
        least one pixel stays.
        """
        top, bottom = _pixels(self.center_y, self.height, rows)
        left, right = _pixels(self.center_x, self.width, columns)
        return Box((top, left), (bottom, right))


def read_boxes(path: Path) -> tuple[RelativeBox, ...]:
    """The boxes of a YOLO file, one a line: `class cx cy w h`, relative to the image; blank lines are passed over.

    Raises:
        ImageReadError: the file cannot be read, or a line is no box; names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ImageReadError(f"The boxes {path} cannot be read: {error.strerror}.", "Check the file.") from error
    lines = enumerate(text.splitlines(), start=1)
    return tuple(_parse(line, f"{path}, line {number}") for number, line in lines if line.strip())


def _parse(line: str, place: str) -> RelativeBox:
    remedy = f"Give lines '{' '.join(FIELDS)}' with the middle and size as shares of the image's width and height."
    words = line.split()
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise ImageReadError(f"{place}: '{line.strip()[:80]}' is no box.", remedy) from error
    if len(values) != len(FIELDS):
        raise ImageReadError(f"{place} has {len(values)} numbers where a box has {len(FIELDS)}.", remedy)
    _, x, y, width, height = values
    inside = all(-TOLERANCE <= value <= 1 + TOLERANCE for value in (x, y))
    sized = all(0 < value <= 1 + TOLERANCE for value in (width, height))
    if not inside or not sized:
        raise ImageReadError(f"{place}: '{line.strip()[:80]}' does not lie in the image.", remedy)
    return RelativeBox(x, y, width, height)


def _pixels(center: float, size: float, length: int) -> tuple[int, int]:
    first = math.floor((center - size / 2) * length + 0.5)
    last = math.floor((center + size / 2) * length + 0.5) - 1
    first = min(max(first, 0), length - 1)
    return first, min(max(last, first), length - 1)
