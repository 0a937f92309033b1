"""How errors leave the server: the reason for the user, the traceback for the log."""

from __future__ import annotations

import logging
import uuid

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException

from anomalabel.errors import AnomaLabelError, Cancelled, OutputError
from monailabel_app.background.work import WorkRunning
from monailabel_app.reviews.chain import ReviewsDamaged, ReviewsUnreadable
from monailabel_app.safety.names import shortened

logger = logging.getLogger(__name__)


STATUS: dict[type[AnomaLabelError], int] = {
    Cancelled: 409,
    WorkRunning: 409,
    OutputError: 507,
    ReviewsDamaged: 500,
    ReviewsUnreadable: 500,
}
"""Errors that are not the request's fault; a client may send the same again later, and a queue of reviews does."""


COMPLAINTS_SHOWN = 8
"""Of a request that is not valid: a list of thousands has thousands of them."""


def install_error_handlers(app: FastAPI) -> None:
    """Answer errors with `{"detail": text}`: 422 bad input, 404 unknown, 500 our own fault; see `STATUS`."""
    app.add_exception_handler(AnomaLabelError, _input_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(MONAILabelException, _monailabel_error)
    app.add_exception_handler(Exception, _own_fault)


async def _input_error(request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"detail": str(error)}, status)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    complaints = error.errors() if isinstance(error, RequestValidationError) else ()
    parts = [
        f"{shortened('.'.join(str(step) for step in item['loc']))}: {item['msg']}"
        for item in complaints[:COMPLAINTS_SHOWN]
    ]
    if len(complaints) > COMPLAINTS_SHOWN:
        parts.append(f"and {len(complaints) - COMPLAINTS_SHOWN} more")
    return JSONResponse({"detail": f"The request is not valid: {'; '.join(parts)}. Correct it."}, 422)


async def _monailabel_error(request: Request, error: Exception) -> JSONResponse:
    reason = error.msg if isinstance(error, MONAILabelException) else ""
    return JSONResponse({"detail": f"{reason}. GET /info/ and GET /datastore/?output=all list what there is."}, 404)


async def _own_fault(request: Request, error: Exception) -> JSONResponse:
    fault = uuid.uuid4().hex[:8]
    logger.error("Fault %s in %s %s", fault, request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": f"The server failed; its log says why under {fault}. Tell its operator."}, 500)
