"""An AnomaLabel server of our own, on a folder of made-up studies."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

PATIENCE_S = 120


def free_port() -> int:
    """A port of this computer that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def own_server(studies: Path, port: int) -> Iterator[str]:
    """Serve a folder until the end of the block; gives the address once the model is warm.

    Raises:
        RuntimeError: the server does not come up.
    """
    program = Path(sys.executable).with_name("anomalabel")
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(  # noqa: S603
        [program, "serve", "--studies", studies, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_for(address: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{address}/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the server does not come up")
