"""Records come back as they went, and nothing else is ever built from bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from anomalabel.evaluation.records import RecordError, from_bytes, to_bytes


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    name: str


@dataclass(frozen=True, eq=False)
class Outer:
    inner: Inner | None
    parts: tuple[Inner, ...]
    numbers: dict[str, float]
    path: Path
    nothing: None
    right: bool


def test_a_record_comes_back_with_its_types():
    values = np.array([[0.5, np.nan], [-np.inf, 1e-30]], dtype=np.float32)
    mask = np.array([True, False])
    record = Outer(Inner(values, "β"), (Inner(mask, ""),), {"a": np.float64(0.1)}, Path("x/y"), None, True)
    back = from_bytes(to_bytes(record), (Outer, Inner))
    assert isinstance(back, Outer)
    np.testing.assert_array_equal(back.inner.values, values)
    assert back.inner.values.dtype == np.float32
    assert back.parts[0].values.dtype == np.bool_
    assert back.parts[0].values.tolist() == [True, False]
    assert (back.inner.name, back.numbers, back.path) == ("β", {"a": 0.1}, Path("x/y"))
    assert back.nothing is None
    assert back.right is True


@pytest.mark.parametrize("number", [0.1 + 0.2, float("inf"), 1e-320, -0.0, 2**60])
def test_numbers_keep_their_last_bit(number):
    assert repr(from_bytes(to_bytes(number), ())) == repr(number)


def test_a_kind_that_was_not_asked_for_is_refused():
    with pytest.raises(RecordError, match="Outer"):
        from_bytes(to_bytes(Inner(np.zeros(1), "")), (Outer,))


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"text"])
def test_damaged_bytes_are_refused(damage):
    with pytest.raises(RecordError):
        from_bytes(damage(to_bytes(Inner(np.arange(100), "x"))), (Inner,))


def test_arrays_of_objects_are_refused():
    with pytest.raises(RecordError):
        from_bytes(to_bytes(Inner(np.array([{}], dtype=object), "x")), (Inner,))


def test_other_things_cannot_be_stored():
    with pytest.raises(TypeError, match="set"):
        to_bytes({"a": {1, 2}})
