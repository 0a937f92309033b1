"""The routes of MONAI Label that are kept, listed one by one.

Left out, because nothing here needs them and each is known to be unsafe or to reach outside: `/proxy` (reaches the
picture archive's root with the server's credentials), `/ohif`, `/docs` (load scripts from the web), `/logs`,
`/auth` (rejects valid tokens), `/batch` (starts processes with a client's parameters), `/train` and `/scoring` (do so
too, tell no progress, and ours are in `routes/train.py` and `routes/scoring.py`), `/model` (replaces
weights), `/infer/wsi`, `/reload`, `DELETE /datastore/image` (a client never deletes a study) and `/datastore/dataset`
(leaves an archive of all studies in the temporary folder). `PUT /session/` and `PUT /datastore/image` are our own:
size-limited, off the event loop, and they unpack nothing on request.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from monailabel_app.safety.names import refuse_unsafe_names

KEPT = frozenset(
    {
        ("GET", "/datastore/"),
        ("HEAD", "/datastore/image"),
        ("GET", "/datastore/image/info"),
        ("PUT", "/datastore/image/info"),
        ("GET", "/datastore/label"),
        ("HEAD", "/datastore/label"),
        ("PUT", "/datastore/label"),
        ("DELETE", "/datastore/label"),
        ("GET", "/datastore/label/info"),
        ("PUT", "/datastore/label/info"),
        ("POST", "/activelearning/{strategy}"),
    }
)


def kept_routes() -> APIRouter:
    """MONAI Label's own handlers for `KEPT`, behind the check of names.

    Its modules read its settings while they are imported: call `apply_to_monailabel` first.
    """
    from monailabel.endpoints import activelearning, datastore

    router = APIRouter(dependencies=[Depends(refuse_unsafe_names)])
    for route in [*datastore.router.routes, *activelearning.router.routes]:
        if not isinstance(route, APIRoute):
            continue
        methods = [method for method in sorted(route.methods or ()) if (method, route.path) in KEPT]
        if methods:
            router.add_api_route(
                route.path, off_the_loop(route.endpoint), methods=methods, tags=route.tags, summary=route.summary
            )
    return router


def off_the_loop(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that FastAPI runs in a thread.

    MONAI Label's are coroutines that wait for nothing: on the event loop a label that is stored, or a worklist that is
    put in order, would keep everybody else waiting.
    """
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint

    def in_a_thread(*args: Any, **values: Any) -> Any:
        return asyncio.run(endpoint(*args, **values))

    in_a_thread.__name__, in_a_thread.__doc__ = endpoint.__name__, endpoint.__doc__
    # `functools.wraps` would show FastAPI the coroutine inside.
    vars(in_a_thread)["__signature__"] = inspect.signature(endpoint)
    return in_a_thread
