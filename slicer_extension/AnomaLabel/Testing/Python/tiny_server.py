"""A server with one made-up case that answers as AnomaLabel's does, so that the module is tested without one."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np

CASE = "head"
TASK = "clap_attention"
SPACING_MM = (1.0, 1.5, 2.0)
SHAPE = (8, 10, 12)
"""(Z, Y, X)"""

INDEX_MIN, INDEX_MAX, PEAK = (4, 3, 2), (7, 5, 4), (5, 4, 3)
"""(i, j, k), inclusive."""

PEAK_RAS = (5.0, 6.0, 6.0)
THRESHOLD, LESION, WARMEST = 0.4, 0.6, 0.9
UNTIL = "2100-01-01T00:00:00+00:00"
BOUNDARY = "tiny"


@dataclass
class TinyServer:
    """The running server.

    Args:
        events: what reviewers did, as it arrived, oldest first.
    """

    address: str
    events: list[dict] = field(default_factory=list)

    def actions(self) -> list[str]:
        """What was done, oldest first."""
        return [event["action"] for event in list(self.events)]


@contextmanager
def tiny_server() -> Iterator[TinyServer]:
    """Serve on loopback until the end of the block."""

    class Handler(_Handler):
        @property
        def told(self) -> TinyServer:
            return server

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = TinyServer(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers by method and path."""

    @property
    def told(self) -> TinyServer:
        """The server that this request is for."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Facts, cases, their image and what was decided."""
        path = urlsplit(self.path).path
        answers = {
            "/info/": lambda: _INFO,
            "/ready": lambda: {"status": "ready"},
            "/datastore/": lambda: {"objects": {CASE: {"image": {}}}},
            "/worklist": lambda: _worklist(self.told),
            f"/reviews/{CASE}": lambda: _reviews(self.told),
        }
        if path == "/datastore/image":
            self._send(
                _image(), "application/octet-stream", {"Content-Disposition": f'attachment; filename="{CASE}.nrrd"'}
            )
        elif path in answers:
            self._send_json(answers[path]())
        else:
            self._send_json({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        """Leases, runs, and acts of reviewers."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == f"/worklist/{CASE}/lease":
            self._send_json(
                {"image": CASE, "reviewer": json.loads(body)["reviewer"], "until_utc": UNTIL, "seconds": 900}
            )
        elif path == f"/infer/{TASK}":
            self._send(_result(), f"multipart/form-data; boundary={BOUNDARY}")
        elif path == f"/reviews/{CASE}":
            event = json.loads(body)
            if event["event_id"] not in {each["event_id"] for each in self.told.events}:
                self.told.events.append({**event, "image": CASE, "utc": UNTIL})
            self._send_json(event)
        else:
            self._send_json({"detail": "Not Found"}, 404)

    def do_DELETE(self) -> None:
        """Leases are given back."""
        self._send_json({})

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads a log here."""

    def _send_json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), "application/json", status=status)

    def _send(self, body: bytes, kind: str, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        named = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _worklist(server: TinyServer) -> dict:
    state = "in_review" if server.events else "new"
    case = {"image": CASE, "state": state, "verdict": None, "reviewer": None, "utc": None, "lease": None, "scores": {}}
    orders = _INFO["anomalabel"]["worklist_orders"]
    return {
        "order": "first",
        "orders": orders,
        "notes": [],
        "seconds_per_lease": 900,
        "cases": [{**case, "rank": None, "problem": ""}],
    }


def _reviews(server: TinyServer) -> dict:
    state = "in_review" if server.events else "new"
    return {
        "image": CASE,
        "verdict": None,
        "events": list(server.events),
        "warnings": [],
        "state": state,
        "last_sha256": "",
    }


def _image() -> bytes:
    voxels = np.add.outer(np.add.outer(np.arange(8), np.arange(10)), np.arange(12)).astype(np.int16)
    voxels[_lesion()] += 40
    return _nrrd(voxels, "int16")


def _heatmap() -> np.ndarray:
    heatmap = np.full(SHAPE, 0.1, np.float32)
    heatmap[_lesion()] = LESION
    heatmap[PEAK[::-1]] = WARMEST
    return heatmap


def _lesion() -> tuple[slice, ...]:
    return tuple(slice(low, high + 1) for low, high in zip(INDEX_MIN[::-1], INDEX_MAX[::-1], strict=True))


def _result() -> bytes:
    parts = (
        ("params", "application/json", "", json.dumps(_report()).encode()),
        ("image", "application/octet-stream", '; filename="heatmap.nrrd"', _nrrd(_heatmap(), "float")),
    )
    body = b""
    for name, kind, filename, content in parts:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\nContent-Type: {kind}\r\n\r\n'
        )
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def _report() -> dict:
    low, high, spacing = np.array(INDEX_MIN), np.array(INDEX_MAX), np.array(SPACING_MM)
    center, size = (low + high) / 2 * spacing, (high - low + 1) * spacing
    finding = {
        "id": "6ed7d7a4-5b0f-4b1e-8a07-4a3d7c1d2f10",
        "label": "anomaly",
        "score": WARMEST,
        "mean_score": LESION,
        "uncertainty": None,
        "volume_mm3": float(size.prod()),
        "peak_index": list(PEAK),
        "index_min": list(INDEX_MIN),
        "index_max": list(INDEX_MAX),
        "center_ras": center.tolist(),
        "center_lps": (center * [-1, -1, 1]).tolist(),
        "size_mm": size.tolist(),
        "axes_ras": np.eye(3).tolist(),
    }
    return {
        "schema": "anomalabel.findings/1",
        "image": CASE,
        "method": "clap",
        "model": {"name": "embedded", "weights_sha256": "0" * 64},
        "config": "brain_mri",
        "prompts": {"positive": ["Glioma"], "negative": ["Normal"]},
        "image_score": WARMEST,
        "calibrated": False,
        "threshold": {"value": THRESHOLD, "rule": "made up"},
        "prompt_specificity": 0.7,
        "nonfinite_voxels": 0,
        "spacing_known": True,
        "heatmap": {"grid": list(SHAPE[::-1]), "min": 0.1, "max": WARMEST, "slope": None, "intercept": None},
        "minimum_volume_mm3": float(spacing.prod()),
        "findings": [finding],
        "warnings": [],
    }


def _nrrd(voxels: np.ndarray, kind: str) -> bytes:
    """A gzip NRRD file of voxels (Z, Y, X), whose first one lies at the world's origin."""
    x, y, z = SPACING_MM
    header = (
        f"NRRD0004\ntype: {kind}\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, voxels.shape[::-1]))}\n"
        f"space directions: ({-x},0,0) (0,{-y},0) (0,0,{z})\nkinds: domain domain domain\n"
        "endian: little\nencoding: gzip\nspace origin: (0,0,0)\n\n"
    )
    return header.encode() + gzip.compress(voxels.astype(voxels.dtype.newbyteorder("<")).tobytes())


_INFO = {
    "name": "AnomaLabel",
    "models": {TASK: {"config": {"backbone": ["embedded"], "seed": 0}}},
    "anomalabel": {
        "version": "0.1.0",
        "api": 1,
        "login": False,
        "reviewer": None,
        "worklist_orders": ["first"],
        "trainers": [],
        "configs": [
            {
                "name": "brain_mri",
                "title": "Brain MRI",
                "positive": ["Glioma"],
                "negative": ["Normal"],
                "rejection_reasons": ["artefact", "normal variant"],
            }
        ],
        "backbones": ["embedded"],
        "trained": [],
    },
}
