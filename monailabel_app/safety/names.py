"""Names that come from a client and end up in a path: image ids, label tags, session and request ids."""

from __future__ import annotations

import re

from fastapi import Request

from anomalabel.errors import ConfigError, writable

NAMED_PARAMETERS = {
    "image": "image id",
    "id": "image id",
    "label": "image id",
    "tag": "label tag",
    "session_id": "session id",
    "request_id": "request id",
}
MAXIMUM_LENGTH = 200
MAXIMUM_BYTES = 230
"""Of the name in UTF-8: file systems take 255, and ours add a suffix."""
WHERE_NAMES_ARE = "Use a name from GET /datastore/?output=all."
RESERVED = frozenset({".", "..", "labels", "anomalabel", "datastore_v2.json", ".lock"})
_FORBIDDEN = re.compile(r"[/\\:\x00-\x1f\x7f]")


def checked_name(value: str, what: str, remedy: str = WHERE_NAMES_ARE) -> str:
    """A name that stays inside its folder whatever it is joined to.

    Args:
        value: text from a request, percent-decoded.
        what: how to call it in the message, e.g. "image id".
        remedy: what to do where it is none.

    Returns:
        `value` unchanged.

    Raises:
        ConfigError: empty, too long, hidden, reserved, or with a separator, drive or control character.
    """
    if not value or _too_long(value) or value.startswith(".") or value in RESERVED:
        raise ConfigError(f"'{shortened(value)}' is no {what}.", remedy)
    if _FORBIDDEN.search(value):
        raise ConfigError(
            f"'{shortened(value)}' is no {what}: it holds a path separator, a colon or a control character.",
            "Use the plain name, without folders.",
        )
    return value


def is_plain_name(value: str) -> bool:
    """Whether `checked_name` lets it pass and it is text: what a file is called that a client can ask for."""
    try:
        return checked_name(value, "name") == writable(value)
    except ConfigError:
        return False


def _too_long(value: str) -> bool:
    return len(value) > MAXIMUM_LENGTH or len(value.encode("utf-8", "surrogatepass")) > MAXIMUM_BYTES


def shortened(value: str) -> str:
    """At most 80 printable characters of a client's text, for messages."""
    printable = "".join(character if character.isprintable() else "?" for character in value)
    return printable if len(printable) <= 80 else printable[:77] + "..."


def header_filename(name: str, suffix: str) -> str:
    """A file name that is safe inside a Content-Disposition header and understood by every client."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) + suffix


async def refuse_unsafe_names(request: Request) -> None:
    """Route dependency: every id, tag and session id of path and query is a plain name.

    Raises:
        ConfigError: one is not.
    """
    given = [*request.query_params.multi_items(), *request.path_params.items()]
    for key, value in given:
        if key in NAMED_PARAMETERS and value:
            checked_name(str(value), NAMED_PARAMETERS[key])
