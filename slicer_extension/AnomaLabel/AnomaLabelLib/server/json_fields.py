"""Typed access to JSON that came from elsewhere; what is wrong is named by its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime, timezone

from ..errors import ReplyError
from ..translation import _

Index = tuple[int, int, int]
Point = tuple[float, float, float]


def parse_json(content: bytes) -> object:
    """The value that UTF-8 JSON stands for.

    Raises:
        ReplyError: it is something else.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise not_json() from error


def not_json() -> ReplyError:
    """The error for an answer that should be JSON and is not."""
    return ReplyError(
        _("What answers there is not an AnomaLabel server: it sent no JSON."),
        _("Check the address; a proxy or another program may answer in the server's place."),
    )


class JsonFields:
    """One JSON object whose values are checked as they are read.

    Args:
        values: the object.
        where: its place, for messages.
        unreadable: makes the error out of what is wrong; every method but `optional_...` of a missing key raises it.
    """

    def __init__(self, values: object, where: str, unreadable: Callable[[str], ReplyError]) -> None:
        self._unreadable = unreadable
        self._where = where
        if not isinstance(values, dict):
            raise unreadable(_("{where} is not an object").format(where=where))
        self._values = values

    def text(self, key: str) -> str:
        """A text."""
        return self._typed(key, str)

    def optional_text(self, key: str) -> str:
        """A text, "" where it is missing or null."""
        return "" if self._values.get(key) is None else self.text(key)

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed texts."""
        value = self.text(key)
        if value not in allowed:
            raise self._wrong(key)
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        return self._typed(key, bool)

    def number(self, key: str) -> float:
        """A finite number."""
        return self._finite(key, self._get(key))

    def optional_number(self, key: str) -> float | None:
        """A finite number, None where it is missing or null."""
        value = self._values.get(key)
        return None if value is None else self._finite(key, value)

    def whole(self, key: str) -> int:
        """An integer."""
        return self._integer(key, self._get(key))

    def moment(self, key: str) -> datetime:
        """A date and time in UTC, written as in ISO 8601."""
        text = self.text(key)
        try:
            # Python 3.10 does not read the Z.
            said = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
            return (said if said.tzinfo else said.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        except (ValueError, OverflowError) as error:
            raise self._wrong(key) from error

    def optional_moment(self, key: str) -> datetime | None:
        """A date and time in UTC, None where it is missing or null."""
        return None if self._values.get(key) is None else self.moment(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key)
        return tuple(values)

    def index(self, key: str) -> Index:
        """Three integers."""
        i, j, k = (self._integer(key, value) for value in self._list(key, 3))
        return i, j, k

    def point(self, key: str) -> Point:
        """Three finite numbers."""
        return self._point(key, self._list(key, 3))

    def rows(self, key: str) -> list[Point]:
        """Three times three finite numbers."""
        return [self._point(key, row) for row in self._list(key, 3)]

    def objects(self, key: str) -> tuple[dict[str, object], ...]:
        """A list of JSON objects as they are."""
        values = self._list(key)
        if not all(isinstance(value, dict) for value in values):
            raise self._wrong(key)
        return tuple(values)

    def inner(self, key: str) -> JsonFields:
        """An object inside."""
        return JsonFields(self._get(key), f"{self._where}.{key}", self._unreadable)

    def optional_inner(self, key: str) -> JsonFields | None:
        """An object inside, None where it is missing or null."""
        return None if self._values.get(key) is None else self.inner(key)

    def inner_list(self, key: str) -> list[JsonFields]:
        """A list of objects."""
        place = f"{self._where}.{key}"
        return [JsonFields(value, f"{place}[{row}]", self._unreadable) for row, value in enumerate(self._list(key))]

    def inner_by_name(self, key: str) -> dict[str, JsonFields]:
        """An object whose values are objects."""
        place = f"{self._where}.{key}"
        values = self._typed(key, dict)
        return {name: JsonFields(value, f"{place}.{name}", self._unreadable) for name, value in values.items()}

    def has(self, key: str) -> bool:
        """Whether a key is there and not null."""
        return self._values.get(key) is not None

    def names(self) -> tuple[str, ...]:
        """The names of its keys."""
        return tuple(self._values)

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
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key)
        try:
            number = float(value)
        except OverflowError as error:
            raise self._wrong(key) from error
        if not math.isfinite(number):
            raise self._wrong(key)
        return number

    def _integer(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key)
        return value

    def _wrong(self, key: str) -> ReplyError:
        return self._unreadable(_("{where}.{key} is missing or malformed").format(where=self._where, key=key))
