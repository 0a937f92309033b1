"""Reads a multipart/form-data reply with bounds on everything; Slicer ships no library that does."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP

from ..errors import ReplyError
from ..translation import _

MAXIMUM_PARTS = 16
MAXIMUM_HEADER_BYTES = 8192
MAXIMUM_BOUNDARY_CHARACTERS = 70
"""RFC 2046, section 5.1.1."""


@dataclass(frozen=True)
class Part:
    """One part of the reply.

    Args:
        filename: what the part calls itself, "" where it has no name; never used as a path.
        content: a view of its bytes inside the reply, not copied.
    """

    filename: str
    content: memoryview


def parse_multipart(content_type: str, body: bytes) -> dict[str, Part]:
    """Cut a reply into its named parts.

    Args:
        content_type: the reply's Content-Type header.
        body: the whole reply.

    Raises:
        ReplyError: not multipart, no or a bad boundary, a part without name, two of one name, an unfinished
            body, or more parts or longer headers than any server of ours sends.
    """
    delimiter = b"--" + _boundary(content_type)
    if not body.startswith(delimiter):
        raise _damaged(_("it does not start with its boundary"))
    parts: dict[str, Part] = {}
    position = len(delimiter)
    while not body.startswith(b"--", position):
        if not body.startswith(b"\r\n", position):
            raise _damaged(_("a boundary is not followed by a line end"))
        start = position + 2
        name, filename, header_end = _header_of_part(body, start, delimiter)
        end = body.find(b"\r\n" + delimiter, header_end)
        if end < 0:
            raise _damaged(_("it ends in the middle"))
        if name in parts:
            raise _damaged(_("it holds two parts called {name}").format(name=name))
        parts[name] = Part(filename, memoryview(body)[header_end:end])
        if len(parts) > MAXIMUM_PARTS:
            raise _damaged(_("it has more than {count} parts").format(count=MAXIMUM_PARTS))
        position = end + 2 + len(delimiter)
    return parts


def _boundary(content_type: str) -> bytes:
    header = _header(b"Content-Type: " + content_type.encode("latin-1", "replace"))
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise _damaged(_("it is of type '{kind}', expected multipart/form-data").format(kind=content_type[:80]))
    if len(boundary) > MAXIMUM_BOUNDARY_CHARACTERS or not boundary.isascii():
        raise _damaged(_("its boundary is malformed"))
    return boundary.encode("ascii")


def _header_of_part(body: bytes, start: int, delimiter: bytes) -> tuple[str, str, int]:
    """Name and file name of the part whose header begins at `start`, and where its content begins."""
    if start == len(body):
        raise _damaged(_("it ends in the middle"))
    end = body.find(b"\r\n\r\n", start, start + MAXIMUM_HEADER_BYTES)
    if end < 0 or delimiter in body[start:end]:
        raise _damaged(_("a part has no header or a very long one"))
    header = _header(body[start:end])
    name = header.get_param("name", header="content-disposition")
    if not isinstance(name, str) or not name:
        raise _damaged(_("a part has no name"))
    return name, header.get_filename() or "", end + 4


def _header(raw: bytes) -> Message:
    if b"\r" in raw.replace(b"\r\n", b"") or b"\n" in raw.replace(b"\r\n", b""):
        raise _damaged(_("a header holds a stray line end"))
    return BytesParser(policy=HTTP).parsebytes(raw + b"\r\n\r\n", headersonly=True)


def _damaged(what: str) -> ReplyError:
    return ReplyError(
        _("The server's answer is damaged: {what}.").format(what=what),
        _("Run again; if it stays so, compare the versions of server and extension."),
    )
