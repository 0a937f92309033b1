"""How tests of the routes speak with a server in this process."""

from __future__ import annotations

import email
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from fastapi.testclient import TestClient


def wait_for(condition: Callable[[], Any], patience_s: float = 20) -> None:
    """Return once something is the case."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def review(client: TestClient, image: str, verdict: str) -> None:
    """Call a study normal or abnormal."""
    body = {"reviewer": "A", "action": f"case_{verdict}"}
    assert client.post(f"/reviews/{image}", json=body).status_code == 200


def ended(client: TestClient) -> dict[str, Any]:
    """The status of the training once it has ended."""
    wait_for(lambda: client.get("/train/").json()["status"] != "RUNNING")
    status: dict[str, Any] = client.get("/train/").json()
    return status


@contextmanager
def held(training: Any) -> Iterator[None]:
    """A stand-in training waits at step 3 of 12 until the block is left."""
    training.gate.clear()
    try:
        yield
    finally:
        training.gate.set()


def parts(response: Any) -> dict[str, tuple[str, bytes]]:
    """Name -> (file name, content) of a multipart reply."""
    assert response.status_code == 200, response.text
    header = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(""), part.get_payload(decode=True))
        for part in email.message_from_bytes(header + response.content).get_payload()
    }


def array_of(content: bytes, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Voxels (Z, Y, X) and header of an NRRD file's bytes, which are kept in a folder."""
    file = folder / "received.nrrd"
    file.write_bytes(content)
    voxels, header = nrrd.read(str(file), index_order="C")
    return voxels, header
