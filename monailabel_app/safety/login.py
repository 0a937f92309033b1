"""Who asks: with a token file every request needs a token, and the token says whose reviews it may send."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.safety.names import shortened
from monailabel_app.safety.tokens import TokenFile

OPEN_PATHS = frozenset({"/", "/ready"})
"""Answered without a token: what watches over the server has none, and they tell of no patient."""

SCHEME = "bearer"
CHALLENGE = 'Bearer realm="AnomaLabel"'
MISSING = (
    "This server asks for a login token, and the request has none. "
    "Enter yours in the panel's settings, or ask the server's operator for one."
)
UNKNOWN = (
    "The server does not know this login token; it may have been withdrawn. "
    "Check it in the panel's settings, or ask the server's operator for a new one."
)


class Login:
    """ASGI middleware that answers 401 without a good token; routes learn the name of its owner.

    Args:
        app: behind it.
        tokens: the good ones.
    """

    def __init__(self, app: ASGIApp, tokens: TokenFile) -> None:
        self.app = app
        self.tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with the name of its token's owner, or refuse it before its body is read."""
        # The app has no websocket routes; its start and end are no requests.
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = _token(scope)
        owner = self.tokens.owner(token) if token else None
        if owner is None and scope["path"] not in OPEN_PATHS:
            challenge = f'{CHALLENGE}, error="invalid_token"' if token else CHALLENGE
            refusal = JSONResponse({"detail": UNKNOWN if token else MISSING}, 401, {"WWW-Authenticate": challenge})
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["reviewer"] = owner
        await self.app(scope, receive, send)


def token_owner(request: Request) -> str | None:
    """Route dependency: whose token came with the request; None on a server without tokens."""
    owner: str | None = getattr(request.state, "reviewer", None)
    return owner


Owner = Annotated["str | None", Depends(token_owner)]


def require_own_name(owner: str | None, reviewer: str) -> None:
    """Let a request pass that speaks for the owner of its token; any, where the server has no tokens.

    Raises:
        HTTPException: 403, it speaks for somebody else.
    """
    if owner is not None and reviewer != owner:
        raise HTTPException(
            403,
            f"The login token is {owner}'s, the request is in the name of '{shortened(reviewer)}'. "
            f"Set the reviewer's name to {owner}, or use the other reviewer's token.",
        )


def _token(scope: Scope) -> str:
    """The token in the request's one Authorization header, "" where there is none."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = (given[0] if len(given) == 1 else b"").decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == SCHEME else ""
