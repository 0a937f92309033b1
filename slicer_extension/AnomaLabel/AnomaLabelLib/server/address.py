"""The server's address as a user types it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..errors import AddressError
from ..translation import _

DEFAULT_ADDRESS = "http://127.0.0.1:8000"


def parse_address(text: str) -> str:
    """The address without trailing slash; `http://` is added where no scheme stands.

    Raises:
        AddressError: another scheme, no host, a bad port, a user name inside the address, or a query.
    """
    address = text.strip()
    if "://" not in address:
        address = f"http://{address}"
    try:
        parts = urlsplit(address)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise _malformed(text) from None
    good = parts.scheme in {"http", "https"} and parts.hostname and port_is_good
    if not good or parts.username or parts.query or parts.fragment or any(letter.isspace() for letter in address):
        raise _malformed(text)
    return address.rstrip("/")


def is_this_computer(address: str) -> bool:
    """Whether images sent to the address stay on this computer."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _malformed(text: str) -> AddressError:
    return AddressError(
        _("'{text}' is not a server address.").format(text=text[:80]),
        _("Write it as {example}.").format(example=DEFAULT_ADDRESS),
    )
