"""What the panel keeps between two starts, read from and written to a store of plain texts."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..errors import AddressError
from ..translation import _
from .address import DEFAULT_ADDRESS, is_this_computer, parse_address
from .transport import Limits

PREFIX = "AnomaLabel/"
ONE_ADDRESS = f"{PREFIX}ServerAddress"
"""Where earlier versions kept the last address."""

MAXIMUM_ADDRESSES = 8
MAXIMUM_NAME = 200
CONNECT_S = (1.0, 60.0)
ANSWER_S = (2.0, 300.0)
RESULT_S = (10.0, 7200.0)

Get = Callable[[str], object]
"""The value under a key, None where there is none; a store may give everything back as text."""

Set = Callable[[str, object], object]
"""Keeps a text under a key."""


@dataclass(frozen=True)
class PanelSettings:
    """The user's settings; values out of range are brought into it.

    Args:
        addresses: of servers, the last used first, at most 8, none twice.
        token: login at the server, "" for none.
        reviewer: the name that acts are kept under.
        connect_s, answer_s, result_s: see `Limits`.
        compact: ask for heatmaps of one byte a voxel in place of four.
        reading_first: withhold what the model says until the reader has committed an own verdict.
        run_on_open: let the server look at a case as it is opened.
        client_id: UUID of this panel, so that a case is still its own after a crash; one is made where none is given.
    """

    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)
    token: str = ""
    reviewer: str = ""
    connect_s: float = Limits.connect_s
    answer_s: float = Limits.answer_s
    result_s: float = Limits.result_s
    compact: bool = False
    reading_first: bool = False
    run_on_open: bool = True
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        changes = {
            "addresses": _distinct(self.addresses),
            "token": self.token.strip(),
            "reviewer": self.reviewer.strip()[:MAXIMUM_NAME],
            "connect_s": _within(self.connect_s, CONNECT_S, Limits.connect_s),
            "answer_s": _within(self.answer_s, ANSWER_S, Limits.answer_s),
            "result_s": _within(self.result_s, RESULT_S, Limits.result_s),
        }
        for name, value in changes.items():
            object.__setattr__(self, name, value)

    @property
    def address(self) -> str:
        """The last used address."""
        return self.addresses[0]

    @property
    def limits(self) -> Limits:
        """The time limits for a client."""
        return Limits(self.connect_s, self.answer_s, self.result_s)

    def used(self, address: str) -> PanelSettings:
        """The same with an address at the front of the history.

        Raises:
            AddressError: it is none.
        """
        return replace(self, addresses=(parse_address(address), *self.addresses))


def from_store(get: Get) -> PanelSettings:
    """Read the settings; what is missing or unreadable takes its default."""
    known = PanelSettings()

    def read(name: str, convert: Callable[[object], object]) -> object:
        value = get(PREFIX + name)
        try:
            return getattr(known, name) if value is None else convert(value)
        except ValueError:
            return getattr(known, name)

    numbers = {name: read(name, float) for name in ("connect_s", "answer_s", "result_s")}
    flags = {name: read(name, _flag) for name in ("compact", "reading_first", "run_on_open")}
    addresses = get(f"{PREFIX}addresses") or get(ONE_ADDRESS) or ""
    return PanelSettings(
        addresses=tuple(addresses) if isinstance(addresses, list | tuple) else tuple(str(addresses).split("\n")),
        token=read("token", str),
        reviewer=read("reviewer", str),
        client_id=read("client_id", lambda text: str(uuid.UUID(str(text)))),
        **numbers,
        **flags,
    )


def to_store(settings: PanelSettings, keep: Set) -> None:
    """Write the settings, each as text: what a store makes of other types differs between systems."""
    texts = {
        "addresses": "\n".join(settings.addresses),
        "token": settings.token,
        "reviewer": settings.reviewer,
        "client_id": settings.client_id,
    }
    for name in ("connect_s", "answer_s", "result_s"):
        texts[name] = repr(getattr(settings, name))
    for name in ("compact", "reading_first", "run_on_open"):
        texts[name] = "true" if getattr(settings, name) else "false"
    for name, text in texts.items():
        keep(PREFIX + name, text)


def token_warning(address: str) -> str:
    """What to know before a token goes to an address, "" where nobody can read along."""
    try:
        parsed = parse_address(address)
    except AddressError:
        return ""
    if parsed.lower().startswith("https://") or is_this_computer(parsed):
        return ""
    return _(
        "This address is plain HTTP: the token and the images can be read by anybody on the way. Use https://, or a "
        "tunnel."
    )


def _distinct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are addresses, in one form, none twice; the default where none is left."""
    good: dict[str, None] = {}
    for address in addresses:
        try:
            good[parse_address(str(address))] = None
        except AddressError:
            continue
    return tuple(good)[:MAXIMUM_ADDRESSES] or (DEFAULT_ADDRESS,)


def _within(value: float, limits: tuple[float, float], default: float) -> float:
    low, high = limits
    return min(high, max(low, float(value))) if math.isfinite(value) else default


def _flag(value: object) -> bool:
    text = str(value).strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"false", "0", "no", "off"}:
        return False
    raise ValueError(text)
