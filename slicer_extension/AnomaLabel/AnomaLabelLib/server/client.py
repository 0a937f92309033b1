"""The calls to an AnomaLabel server; every one has time limits and ends in a result or a `PanelError`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path

from ..errors import ReplyError, RunCancelledError
from ..translation import _
from .calls import quoted
from .json_fields import not_json, parse_json
from .map_kinds import MAP_KINDS
from .multipart import Part, parse_multipart
from .parameters import RunParameters
from .report import Report, parse_report
from .review_calls import ReviewCalls
from .server_facts import ServerFacts, parse_info, parse_studies
from .training_calls import TrainingCalls
from .transport import Limits

__all__ = ["Client", "InferenceResult", "Limits", "StudyFile"]


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


class Client(ReviewCalls, TrainingCalls):
    """One server.

    Args:
        address: as a user types it.
        limits: seconds to wait and bytes to accept.
        token: sent along as login, "" for none.
        client_id: UUID of this panel, for the leases of cases; one is made where none is given.

    Raises:
        AddressError: the address is malformed.
        LoginError: the token holds what no token can hold.
    """

    def info(self) -> ServerFacts:
        """Tasks, configs and image-text models of the server."""
        return parse_info(self._transport.json("GET", "/info/"))

    def ready(self) -> None:
        """Return once the model is warm.

        Raises:
            ServerNotReadyError: it is still loading.
        """
        self._transport.json("GET", "/ready")

    def studies(self) -> tuple[str, ...]:
        """Ids of the server's images, sorted."""
        return parse_studies(self._transport.json("GET", "/datastore/", {"output": "all"}))

    def download_study(self, study: str) -> StudyFile:
        """An image of the server, as its file."""
        answer = self._transport.call("GET", "/datastore/image", {"image": study}, long=True)
        return StudyFile(study, _filename(answer.headers) or study, answer.content)

    def add_study(self, name: str, path: Path) -> str:
        """Send an image as a new study; the id that it has from now on.

        Raises:
            RequestRefusedError: the name cannot be one of a study, or there is a study of that name.
        """
        with path.open("rb") as content:
            files = {"file": (path.name, content, "application/octet-stream")}
            answer = self._transport.call("PUT", "/datastore/image", {"image": name}, files=files, long=True)
        kept = parse_json(answer.content)
        if not isinstance(kept, dict) or not isinstance(kept.get("image"), str):
            raise not_json()
        return kept["image"]

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
            answer = self._transport.call(
                "POST",
                f"/infer/{quoted(parameters.task)}",
                query,
                files=fields,
                long=True,
                refusals={409: lambda _words: RunCancelledError()},
            )
        parts = parse_multipart(answer.headers.get("Content-Type", ""), answer.content)
        report = parse_report(_text(_required(parts, "params")))
        maps = {kind: parts[kind].content for kind in MAP_KINDS if kind in parts}
        return InferenceResult(report, _required(parts, "image").content, maps)

    def progress(self, request_id: str) -> tuple[int, int]:
        """(done, total) steps of a run."""
        counts = self._transport.json("GET", f"/progress/{quoted(request_id)}")
        if not isinstance(counts, dict) or not all(type(counts.get(key)) is int for key in ("done", "total")):
            raise not_json()
        return counts["done"], counts["total"]

    def cancel(self, request_id: str) -> None:
        """Ask the server to stop a run; its `infer` then ends with `RunCancelledError`."""
        self._transport.call("DELETE", f"/progress/{quoted(request_id)}")


def _required(parts: dict[str, Part], name: str) -> Part:
    if name not in parts:
        raise ReplyError(
            _("The server's answer has no part '{name}'.").format(name=name),
            _("Compare the versions of server and extension."),
        )
    return parts[name]


def _text(part: Part) -> str:
    try:
        return part.content.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_json() from error


def _filename(headers: Mapping[str, str]) -> str:
    message = Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "")
    # A name only: whatever folder the server writes before it must not reach the disk of this computer.
    return Path((message.get_filename() or "").replace("\\", "/")).name
