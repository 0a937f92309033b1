"""The server as a process of its own, for as long as a block runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from anomalabel.errors import ModelError

START_SECONDS = 300
STOP_SECONDS = 15
POLL_SECONDS = 0.25


@contextmanager
def server_process(studies: Path, log: Path, port: int | None = None, device: str = "auto") -> Iterator[str]:
    """Start the server on loopback, wait until it is ready, stop it when the block is left.

    Args:
        studies: folder of images.
        log: file that takes what the server says.
        port: a free one where None.
        device: "auto", "cpu", "cuda", ...

    Yields:
        its address.

    Raises:
        ModelError: it ended or did not become ready; with its reason.
    """
    chosen = free_port() if port is None else port
    serving = ["-m", "anomalabel.cli", "serve", "--studies", str(studies)]
    command = [sys.executable, *serving, "--port", str(chosen), "--device", device]
    url = f"http://127.0.0.1:{chosen}"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A TCP port of loopback that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    reason = "it does not answer"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = requests.get(f"{url}/ready", timeout=10)
        except requests.RequestException:
            time.sleep(POLL_SECONDS)
            continue
        if answer.ok:
            return
        reason = answer.json()["detail"]
        if "could not" in reason:
            break
        time.sleep(POLL_SECONDS)
    if process.poll() is not None:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = said[-1] if said else f"it ended with code {process.returncode}"
    raise ModelError(f"The server did not become ready: {reason.rstrip('.')}.", f"Its log is {log}.")
