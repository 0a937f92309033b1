"""What it means when a server answers with anything but 200, in words for the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ..errors import (
    LoginError,
    PanelError,
    ReplyError,
    RequestRefusedError,
    ServerFailedError,
    ServerNotReadyError,
    VersionError,
)
from ..translation import _

Refusals = Mapping[int, Callable[[str], PanelError]]
"""By status: makes the error of one call out of the server's words."""

MAXIMUM_WORDS = 2000
NO_SUCH_ROUTE = {404: "Not Found", 405: "Method Not Allowed"}
"""What the server's framework, and not the server itself, says where it has no such call."""

GATEWAY = frozenset({502, 504})
REFUSED = frozenset({400, 403, 404, 409, 413, 422})


def refusal(status: int, headers: Mapping[str, str], content: bytes, has_token: bool, own: Refusals) -> PanelError:
    """The error for an answer that is not 200.

    Args:
        has_token: whether a login token was sent.
        own: what statuses mean for this call; the others mean the same everywhere.
    """
    words = _words(content)
    if NO_SUCH_ROUTE.get(status) == words and words:
        return VersionError(
            _("The server does not know this request (HTTP {status}): it is older than this extension.").format(
                status=status
            ),
            _("Ask who runs the server to update AnomaLabel; check the address too."),
        )
    if status in own and words:
        return own[status](words)
    if status == 401 or (status == 403 and words):
        return _login_error(status, words, has_token)
    if status == 503:
        return ServerNotReadyError(
            _("The server is not ready: {detail}").format(detail=words or _("its model is loading.")),
            _("Wait a moment and try again."),
        )
    if status in REFUSED and words:
        return RequestRefusedError(words, _("Follow that advice, or ask who runs the server; then try again."))
    if status >= 500:
        return _failure(status, words)
    if 300 <= status < 400:
        return ReplyError(
            _("The server sends on to another address (HTTP {status}): {address}").format(
                status=status, address=headers.get("Location", "")[:200]
            ),
            _("If you trust it, enter that address; images and token are sent to no other than yours."),
        )
    return ReplyError(
        _("The server answered with HTTP {status}. {detail}").format(status=status, detail=words).strip(),
        _("Check that the address is that of an AnomaLabel server."),
    )


def _login_error(status: int, words: str, has_token: bool) -> LoginError:
    remedy = _("Enter your token and your name under Settings; whoever runs the server gives tokens out.")
    if status == 403:
        return LoginError(_("The server denies this: {detail}").format(detail=words), remedy)
    if not has_token:
        return LoginError(_("The server asks for a login token and none is entered."), remedy)
    return LoginError(words or _("The server refuses the login token."), remedy)


def _failure(status: int, words: str) -> ServerFailedError:
    if status in GATEWAY and not words:
        return ServerFailedError(
            _("A proxy in front of the server gets no answer from it (HTTP {status}).").format(status=status),
            _("Wait a moment; if it stays so, ask who runs the server."),
        )
    return ServerFailedError(
        _("The server failed (HTTP {status}). {detail}").format(status=status, detail=words).strip(),
        _("Look at the server's log, or ask who runs it."),
    )


def _words(content: bytes) -> str:
    """The server's own words, "" where it sent something else, such as an HTML page."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail[:MAXIMUM_WORDS] if isinstance(detail, str) else ""
