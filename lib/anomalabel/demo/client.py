"""Asks the server over HTTP, as the Slicer extension does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import requests
from requests_toolbelt.multipart.decoder import MultipartDecoder

from anomalabel.errors import ConfigError
from anomalabel.finding import FindingsReport

REQUEST_SECONDS = 3600
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ServerAnswer:
    """The two parts of a reply: the report, and the heatmap as the bytes of an NRRD file."""

    report: FindingsReport
    heatmap: bytes


def ask_server(url: str, image: str, params: dict[str, Any], progress: Callable[[int, int], None]) -> ServerAnswer:
    """Send one request for a study of the server and report its progress until the answer is there.

    Args:
        url: of the server.
        image: id of the study.
        params: see the server's request.
        progress: called with (done, total).

    Raises:
        ConfigError: the server refused; with its reason.
    """
    request_id = uuid.uuid4().hex
    query = {"image": image, "request_id": request_id}
    with ThreadPoolExecutor(1) as worker:
        answer = worker.submit(
            requests.post,
            f"{url}/infer/clap_attention",
            params=query,
            data={"params": json.dumps(params)},
            timeout=REQUEST_SECONDS,
        )
        while wait([answer], timeout=POLL_SECONDS).not_done:
            state = requests.get(f"{url}/progress/{request_id}", timeout=30)
            if state.ok:
                progress(state.json()["done"], state.json()["total"])
    return _decoded(answer.result())


def _decoded(response: requests.Response) -> ServerAnswer:
    if not response.ok:
        reason = response.json()["detail"]
        raise ConfigError(f"The server answered {response.status_code}: {reason}", "See its log.")
    parts = {_name(part.headers): part.content for part in MultipartDecoder.from_response(response).parts}
    return ServerAnswer(FindingsReport.model_validate_json(parts["params"]), parts["image"])


def _name(headers: Any) -> str:
    disposition = headers[b"Content-Disposition"].decode("ascii")
    return str(disposition.split('name="')[1].split('"')[0])
