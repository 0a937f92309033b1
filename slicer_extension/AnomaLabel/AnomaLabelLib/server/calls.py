"""What all groups of calls share: the way to the server, and who is asking."""

from __future__ import annotations

import uuid
from urllib.parse import quote

from .transport import Limits, Transport


class Calls:
    """A group of calls to one server; see `Client` for the arguments."""

    def __init__(self, address: str, limits: Limits | None = None, token: str = "", client_id: str = "") -> None:
        self._transport = Transport(address, limits or Limits(), token)
        self.client_id = client_id or str(uuid.uuid4())

    @property
    def address(self) -> str:
        """Of the server, in its one form."""
        return self._transport.address


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
