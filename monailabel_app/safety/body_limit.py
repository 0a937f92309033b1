"""A bound on request bodies, checked while they arrive, before anything is written."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAXIMUM_JSON_BYTES = 8 * 1024**2
"""Of bodies that are no upload: they are held in memory and parsed while nobody else is answered."""

UPLOAD = b"multipart/form-data"


class BodyLimit:
    """ASGI middleware that answers 413 when a body is too large, announced or not.

    Args:
        app: behind it.
        maximum_bytes: of uploads; other bodies have at most `MAXIMUM_JSON_BYTES` of them.
    """

    def __init__(self, app: ASGIApp, maximum_bytes: int) -> None:
        self.app = app
        self.maximum_bytes = maximum_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted `receive`."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        upload = headers.get(b"content-type", b"").lower().startswith(UPLOAD)
        maximum = self.maximum_bytes if upload else min(self.maximum_bytes, MAXIMUM_JSON_BYTES)
        reason = _reason(maximum, upload)
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > maximum:
            await JSONResponse({"detail": reason}, status_code=413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > maximum:
                raise HTTPException(413, reason)
            return message

        await self.app(scope, counted, send)


def _reason(maximum: int, upload: bool) -> str:
    remedy = (
        "Put the image into the studies folder, or start the server with a higher upload limit."
        if upload
        else "Send less at once; images and masks go as files in a multipart form."
    )
    return f"The request is larger than {maximum} bytes. {remedy}"
