"""A small HTTP server that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    Args:
        stated_length: lies about the body's length.
        wait: called before answering.
        hang_up: break the connection in place of answering.
    """

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stated_length: int | None = None
    wait: Callable[[], object] | None = None
    hang_up: bool = False


@dataclass(frozen=True)
class Request:
    """What came: method, path with query, headers, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class SmallServer:
    """Answers by (method, path without query); a reply that is a function is given the request.

    Args:
        gone: hangs up on every request, as if nothing ran there, and remembers none.
    """

    url: str
    replies: dict[tuple[str, str], Reply | Callable[[Request], Reply]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    gone: bool = False

    def answer(self, method: str, path: str, reply: Reply | Callable[[Request], Reply]) -> None:
        self.replies[method, path] = reply

    def answer_json(self, path: str, value: object, status: int = 200, method: str = "GET") -> None:
        self.answer(method, path, Reply(json.dumps(value).encode(), status))

    def asked(self, method: str, prefix: str = "/") -> list[Request]:
        return [each for each in list(self.requests) if each.method == method and each.path.startswith(prefix)]


@contextmanager
def small_server() -> Iterator[SmallServer]:
    """Serve on loopback until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Request(self.command, self.path, dict(self.headers), body)
            if served.gone:
                self._hang_up()
                return
            served.requests.append(asked)
            path = self.path.split("?")[0]
            named = served.replies.get((self.command, path))
            reply = named or served.replies.get((self.command, "*")) or Reply(b'{"detail": "Not Found"}', 404)
            if callable(reply):
                reply = reply(asked)
            if reply.wait:
                reply.wait()
            if reply.hang_up:
                self._hang_up()
                return
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(reply.stated_length or len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _hang_up(self) -> None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Tests have no use for a log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = SmallServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


INFO = {
    "name": "AnomaLabel",
    "models": {
        "clap_attention": {"config": {"backbone": ["embedded", "biomedclip"], "seed": 0}},
        "few_shot_localization": {"config": {"trained": ["liver_ct"], "uncertainty": False}},
        "unet_reconstruction": {"config": {"trained": ["liver_ct"], "saliency": False, "reconstruction": False}},
    },
    "datastore": {"total": 2},
    "anomalabel": {
        "version": "0.1.0",
        "configs": [
            {"name": "brain_mri", "title": "Brain MRI", "positive": ["Glioma"], "negative": ["Normal"]},
            {"name": "liver_ct", "title": "Liver CT", "positive": ["Malignant cells"], "negative": ["Benign"]},
        ],
        "backbones": ["embedded", "biomedclip"],
        "trained": [
            {
                "task": "few_shot_localization",
                "name": "liver_ct",
                "config": "liver_ct",
                "shots": 16,
                "created": "2025-03-04T05:06:07",
                "problem": "",
            },
            {
                "task": "unet_reconstruction",
                "name": "liver_ct",
                "config": "liver_ct",
                "shots": 120,
                "created": "2025-04-05T06:07:08",
                "problem": "",
            },
        ],
    },
}
DATASTORE = {"name": "studies", "objects": {"b": {"image": {}}, "a": {"image": {}}}}


def offer_everything(server: SmallServer) -> None:
    """Answer `/info/`, `/ready` and the list of studies as an AnomaLabel server does."""
    server.answer_json("/info/", INFO)
    server.answer_json("/ready", {"status": "ready"})
    server.answer_json("/datastore/", DATASTORE)


def result_reply(report_json: str, heatmap_nrrd: bytes, maps: dict[str, bytes] | None = None, **changes) -> Reply:
    """The multipart answer to `/infer`, with the files of further maps by kind."""
    boundary = "3f1a9c"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
        f"{report_json}\r\n--{boundary}\r\n"
        'Content-Disposition: form-data; name="image"; filename="heatmap.nrrd"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + heatmap_nrrd
    for kind, content in (maps or {}).items():
        header = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{kind}"; filename="x.nrrd"\r\n\r\n'
        body += header.encode() + content
    body += f"\r\n--{boundary}--\r\n".encode()
    return Reply(body, content_type=f"multipart/form-data; boundary={boundary}", **changes)
