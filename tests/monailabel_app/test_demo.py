"""The demonstration with a stand-in for the model: everything around it is real."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import requests
import uvicorn
from rich.console import Console

from anomalabel.demo import run
from anomalabel.demo.server_process import free_port
from anomalabel.io.read import read_volume
from monailabel_app.server import create_app
from monailabel_app.settings import ServerSettings


def test_it_writes_everything_and_says_honestly_where_the_peak_lies(
    tmp_path: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def in_this_process(studies: Path, log: Path, port: int | None, device: str) -> Iterator[str]:
        chosen = free_port()
        server = uvicorn.Server(uvicorn.Config(create_app(ServerSettings(studies), pipeline), port=chosen))
        thread = threading.Thread(target=server.run)
        thread.start()
        url = f"http://127.0.0.1:{chosen}"
        while not (server.started and requests.get(f"{url}/ready", timeout=10).ok):
            time.sleep(0.05)
        yield url
        server.should_exit = True
        thread.join(20)

    monkeypatch.setattr(run, "server_process", in_this_process)
    said = StringIO()
    outputs = run.run_demo(tmp_path / "demo", console=Console(file=said, width=500))

    assert sorted(file.name for file in outputs.study.parent.iterdir() if file.is_file() and file.name[0] != ".") == [
        "datastore_v2.json",
        "head_with_lesion.nii.gz",
    ]
    truth = np.asarray(nibabel.load(outputs.truth).dataobj, dtype=bool).T
    heatmap = read_volume(outputs.heatmap)
    assert heatmap.shape == truth.shape
    assert outputs.score.peak_in_lesion == bool(truth[np.unravel_index(np.nanargmax(heatmap.array), truth.shape)])
    assert outputs.score.auroc < 0.9, "a map that is the image itself is low in a dark lesion"
    assert json.loads(outputs.findings.read_text())["image"] == "head_with_lesion"
    assert outputs.overlay.read_bytes().startswith(b"\x89PNG")
    page = outputs.page.read_text()
    assert run.verdict(outputs.score).replace("'", "&#39;") in page
    for path in (outputs.page, outputs.heatmap, outputs.findings, outputs.overlay):
        assert str(path) in said.getvalue()
    assert f"make serve STUDIES={outputs.study.parent}" in said.getvalue()
    assert "http://127.0.0.1:8000" in said.getvalue()
