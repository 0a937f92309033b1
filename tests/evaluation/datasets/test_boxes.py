"""YOLO boxes to array indices."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.datasets.boxes import RelativeBox, read_boxes


def test_pixels_counted_by_hand(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("2 0.5 0.25 0.4 0.5\n\n0 0.95 0.5 0.2 0.1\n")
    first, second = (box.in_indices(20, 10) for box in read_boxes(file))
    assert first == Box((0, 3), (9, 6))
    assert second == Box((9, 9), (10, 9))


@settings(deadline=None)
@given(st.data())
def test_a_box_comes_back_from_six_digits(data):
    rows, columns = data.draw(st.integers(1, 3000)), data.draw(st.integers(1, 3000))
    top, bottom = sorted(data.draw(st.tuples(*[st.integers(0, rows - 1)] * 2)))
    left, right = sorted(data.draw(st.tuples(*[st.integers(0, columns - 1)] * 2)))
    written = RelativeBox(
        center_x=round((left + right + 1) / 2 / columns, 6),
        center_y=round((top + bottom + 1) / 2 / rows, 6),
        width=round((right + 1 - left) / columns, 6),
        height=round((bottom + 1 - top) / rows, 6),
    )
    assert written.in_indices(rows, columns) == Box((top, left), (bottom, right))


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-9, 1), st.floats(1e-9, 1), st.integers(1, 50), st.integers(1, 50))
def test_every_box_lies_in_the_image_and_holds_a_pixel(x, y, width, height, rows, columns):
    box = RelativeBox(x, y, width, height).in_indices(rows, columns)
    assert 0 <= box.low[0] <= box.high[0] < rows
    assert 0 <= box.low[1] <= box.high[1] < columns


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "has 4 numbers"),
        ("0 0.5 0.5 0.5 0.5 0.9", "has 6 numbers"),
        ("no finding", "is no box"),
        ("0 120 80 30 20", "does not lie in the image"),
        ("0 0.5 0.5 0 0.5", "does not lie in the image"),
        ("0 nan 0.5 0.5 0.5", "does not lie in the image"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    file = tmp_path / "a.txt"
    file.write_text(f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(ImageReadError, match=rf"a\.txt, line 2.*{message}"):
        read_boxes(file)


def test_missing_file(tmp_path):
    with pytest.raises(ImageReadError, match="cannot be read"):
        read_boxes(tmp_path / "none.txt")
