"""Speaks HTTP with an AnomaLabel server; every call has time limits and ends in a result or a `PanelError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from urllib.parse import quote

import requests

from ..errors import (
    AddressError,
    ReplyError,
    RequestRefusedError,
    RunCancelledError,
    ServerNotReadyError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from ..translation import _
from .address import parse_address
from .map_kinds import MAP_KINDS
from .multipart import Part, parse_multipart
from .parameters import RunParameters
from .report import Report, parse_report
from .server_facts import ServerFacts, parse_info, parse_studies

CHUNK_BYTES = 1 << 20
MAXIMUM_TEXT_BYTES = 16 << 20


@dataclass(frozen=True)
class Limits:
    """Seconds to wait and bytes to accept.

    Args:
        connect_s: for the connection.
        answer_s: for a short answer.
        result_s: for a run's result.
        result_bytes: largest result or study that is taken in.
    """

    connect_s: float = 5.0
    answer_s: float = 15.0
    result_s: float = 1800.0
    result_bytes: int = 2 << 30


@dataclass(frozen=True)
class InferenceResult:
    """A heatmap as the bytes of an NRRD file, and what was found; `maps` holds what else the method gave, by kind."""

    report: Report
    heatmap_nrrd: memoryview
    maps: dict[str, memoryview] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFile:
    """An image of the server: its id, file name and bytes."""

    study: str
    filename: str
    content: bytes


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: requests.structures.CaseInsensitiveDict
    content: bytes


class Client:
    """One server.

    Args:
        address: as a user types it.

    Raises:
        AddressError: the address is malformed.
    """

    def __init__(self, address: str, limits: Limits | None = None) -> None:
        self.address = parse_address(address)
        self._limits = limits or Limits()

    def info(self) -> ServerFacts:
        """Tasks, configs and image-text models of the server."""
        return parse_info(self._json("GET", "/info/"))

    def ready(self) -> None:
        """Return once the model is warm.

        Raises:
            ServerNotReadyError: it is still loading.
        """
        self._json("GET", "/ready")

    def studies(self) -> tuple[str, ...]:
        """Ids of the server's images, sorted."""
        return parse_studies(self._json("GET", "/datastore/", query={"output": "all"}))

    def download_study(self, study: str) -> StudyFile:
        """An image of the server, as its file."""
        answer = self._call("GET", "/datastore/image", query={"image": study}, long=True)
        return StudyFile(study, _filename(answer.headers) or study, answer.content)

    def infer(self, parameters: RunParameters, request_id: str, image: str | Path) -> InferenceResult:
        """Ask for the anomalies of one image.

        Args:
            request_id: a UUID under which `progress` and `cancel` know this run.
            image: id of a study of the server, or path of a file of this computer.

        Raises:
            RunCancelledError: `cancel` was called for this run.
        """
        query = {"output": "all", "request_id": request_id}
        fields: dict[str, tuple] = {"params": (None, parameters.to_json())}
        with contextlib.ExitStack() as stack:
            if isinstance(image, Path):
                fields["file"] = (image.name, stack.enter_context(image.open("rb")), "application/octet-stream")
            else:
                query["image"] = image
            path = f"/infer/{quote(parameters.task, safe='')}"
            answer = self._call("POST", path, query=query, long=True, files=fields)
        parts = parse_multipart(answer.headers.get("Content-Type", ""), answer.content)
        report = parse_report(_text(_required(parts, "params").content.tobytes()))
        maps = {kind: parts[kind].content for kind in MAP_KINDS if kind in parts}
        return InferenceResult(report, _required(parts, "image").content, maps)

    def progress(self, request_id: str) -> tuple[int, int]:
        """(done, total) steps of a run."""
        counts = self._json("GET", f"/progress/{quote(request_id, safe='')}")
        if not isinstance(counts, dict) or not all(type(counts.get(key)) is int for key in ("done", "total")):
            raise _not_json()
        return counts["done"], counts["total"]

    def cancel(self, request_id: str) -> None:
        """Ask the server to stop a run; its `infer` then ends with `RunCancelledError`."""
        self._call("DELETE", f"/progress/{quote(request_id, safe='')}")

    def _json(self, method: str, path: str, query: dict[str, str] | None = None) -> object:
        answer = self._call(method, path, query=query)
        try:
            return requests.compat.json.loads(_text(answer.content))
        except ValueError as error:
            raise _not_json() from error

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        long: bool = False,
        files: dict[str, tuple] | None = None,
    ) -> _Answer:
        limits = self._limits
        patience_s = limits.result_s if long else limits.answer_s
        with self._connection_errors(patience_s), requests.Session() as session:
            # An http_proxy or .netrc of the environment would send images and passwords elsewhere.
            session.trust_env = False
            reply = session.request(
                method,
                self.address + path,
                params=query,
                files=files,
                timeout=(limits.connect_s, patience_s),
                stream=True,
                allow_redirects=False,
            )
            with reply:
                content = _read(reply, limits.result_bytes if long and reply.ok else MAXIMUM_TEXT_BYTES)
        answer = _Answer(reply.status_code, reply.headers, content)
        if answer.status != 200:
            raise _refusal(answer)
        return answer

    @contextlib.contextmanager
    def _connection_errors(self, patience_s: float) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.ReadTimeout as error:
            raise ServerTimeoutError(
                _("{address} took the request but sent nothing for {seconds:g} s.").format(
                    address=self.address, seconds=patience_s
                ),
                _("Try again; if it stays so, look at the server's log."),
            ) from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise AddressError(
                _("'{address}' is not a server address.").format(address=self.address),
                _("Correct the server address."),
            ) from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise _half_an_answer() from error
        except requests.exceptions.RequestException as error:
            raise ServerUnreachableError(
                _("{address} cannot be reached.").format(address=self.address),
                _("Check that the server runs and that address and port are right."),
            ) from error


def _read(reply: requests.Response, limit: int) -> bytes:
    content = bytearray()
    for chunk in reply.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > limit:
            raise ReplyError(
                _("The server's answer is larger than {limit} MiB.").format(limit=limit >> 20),
                _("Check that the address is that of an AnomaLabel server."),
            )
    stated = reply.headers.get("Content-Length", "")
    # Older urllib3 hands over a body that broke off as if it were whole.
    if stated.isdigit() and "Content-Encoding" not in reply.headers and len(content) < int(stated):
        raise _half_an_answer()
    return bytes(content)


def _refusal(answer: _Answer) -> Exception:
    detail = _detail(answer.content)
    if answer.status == 409:
        return RunCancelledError()
    if answer.status == 503:
        return ServerNotReadyError(
            _("The server is not ready: {detail}").format(detail=detail or _("its model is loading.")),
            _("Wait a moment and press Test connection again."),
        )
    if answer.status in {404, 422} and detail:
        return RequestRefusedError(detail, _("Follow that advice, or ask who runs the server; then run again."))
    if answer.status >= 500:
        return ReplyError(
            _("The server failed (HTTP {status}). {detail}").format(status=answer.status, detail=detail).strip(),
            _("Look at the server's log, or ask who runs it."),
        )
    return ReplyError(
        _("The server answered with HTTP {status}. {detail}").format(status=answer.status, detail=detail).strip(),
        _("Check that the address is that of an AnomaLabel server."),
    )


def _detail(content: bytes) -> str:
    """The server's own words, "" where it sent something else, such as an HTML page."""
    try:
        body = requests.compat.json.loads(content)
    except ValueError:
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail[:2000] if isinstance(detail, str) else ""


def _required(parts: dict[str, Part], name: str) -> Part:
    if name not in parts:
        raise ReplyError(
            _("The server's answer has no part '{name}'.").format(name=name),
            _("Compare the versions of server and extension."),
        )
    return parts[name]


def _filename(headers: requests.structures.CaseInsensitiveDict) -> str:
    message = Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "")
    # A name only: whatever folder the server writes before it must not reach the disk of this computer.
    return Path((message.get_filename() or "").replace("\\", "/")).name


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json() from error


def _not_json() -> ReplyError:
    return ReplyError(
        _("What answers there is not an AnomaLabel server: it sent no JSON."),
        _("Check the address; a proxy or another program may answer in the server's place."),
    )


def _half_an_answer() -> ReplyError:
    return ReplyError(_("The connection broke in the middle of the answer."), _("Run again."))
