"""The real server as a process, over real connections."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import uvicorn
from monailabel.client import MONAILabelClient

from anomalabel.demo.client import ask_server
from anomalabel.demo.server_process import free_port
from anomalabel.finding import FindingsReport
from anomalabel.io.read import read_volume
from monailabel_app.server import create_app
from monailabel_app.settings import ServerSettings


def raw_status(url: str, method: str, path: str) -> int:
    """The status of a request whose path no client library has tidied."""
    parsed = urlsplit(url)
    with closing(http.client.HTTPConnection(parsed.hostname, parsed.port, timeout=30)) as connection:
        connection.request(method, path)
        return connection.getresponse().status


@pytest.mark.parametrize("study", ["axial.nii.gz", "oblique.nrrd"])
def test_monailabels_own_client_gets_a_heatmap_on_the_studys_grid(
    running_server: Any, tmp_path: Path, study: str
) -> None:
    client = MONAILabelClient(running_server.url, tmpdir=str(tmp_path))
    name = study.split(".")[0]
    sent = {"result_extension": ".nrrd", "result_dtype": "uint8", "config": "brain_mri", "seed": 0}
    file, params = client.infer("clap_attention", name, sent)
    report = FindingsReport.model_validate(params)
    heatmap, source = read_volume(Path(file)), read_volume(running_server.studies / study)
    assert heatmap.shape == source.shape
    np.testing.assert_allclose(heatmap.affine_ras, source.affine_ras, atol=1e-5)
    assert report.image == name
    assert report.heatmap.grid == source.shape[::-1]
    assert np.nanmax(heatmap.array) == pytest.approx(report.heatmap.max, abs=1e-6)
    assert (running_server.studies / study).exists()


def test_the_same_request_gives_the_same_heatmap(running_server: Any, tmp_path: Path) -> None:
    maps = []
    for number in range(2):
        answer = ask_server(running_server.url, "axial", {"seed": 5}, lambda done, total: None)
        file = tmp_path / f"{number}.nrrd"
        file.write_bytes(answer.heatmap)
        maps.append(read_volume(file).array)
        assert (answer.report.image, answer.report.config) == ("axial", "brain_mri")
    np.testing.assert_array_equal(maps[0], maps[1])


def test_info_answers_while_inferences_run(running_server: Any) -> None:
    with ThreadPoolExecutor(2) as clients:
        ask = [clients.submit(ask_server, running_server.url, "axial", {}, lambda *_: None) for _ in range(2)]
        answered = 0
        while not all(answer.done() for answer in ask):
            begin = time.monotonic()
            assert requests.get(f"{running_server.url}/info/", timeout=10).ok
            assert time.monotonic() - begin < 5
            answered += 1
        assert answered > 1
        assert [answer.result().report.image for answer in ask] == ["axial", "axial"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/session/%2e%2e"),
        ("GET", "/datastore/image?image=%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        ("DELETE", "/datastore/label?id=axial&tag=%2e%2e"),
        ("POST", "/infer/clap_attention?image=%2e%2e%2fserver.log"),
        ("POST", "/infer/%2e%2e?image=axial"),
    ],
)
def test_encoded_paths_are_422(running_server: Any, method: str, path: str) -> None:
    assert raw_status(running_server.url, method, path) == 422


def test_a_second_server_on_the_same_folder_says_so_and_ends_with_2(running_server: Any) -> None:
    serving = ["-m", "anomalabel.cli", "serve", "--studies", str(running_server.studies)]
    command = [sys.executable, *serving, "--port", str(free_port())]
    second = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert second.returncode == 2
    assert "Another server serves" in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr


@contextmanager
def in_thread(settings: ServerSettings, pipeline: Any) -> Iterator[str]:
    """Our ASGI app under uvicorn in this process."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings, pipeline), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            if server.started and requests.get(f"{url}/ready", timeout=10).ok:
                break
            time.sleep(0.05)
        yield url
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def test_a_client_that_goes_away_frees_the_device(studies: Path, pipeline: Any) -> None:
    pipeline.detect_gate.clear()
    with in_thread(ServerSettings(studies), pipeline) as url:
        parsed = urlsplit(url)
        with socket.create_connection((parsed.hostname, parsed.port)) as connection:
            connection.sendall(b"POST /infer/clap_attention?image=head HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert pipeline.entered.wait(10)
        for _ in range(500):
            if pipeline.active == 0:
                break
            time.sleep(0.02)
        assert pipeline.active == 0
        pipeline.detect_gate.set()
        reply = requests.post(f"{url}/infer/clap_attention?image=head&output=json", timeout=20)
        assert json.loads(reply.text)["image"] == "head"
