"""A reader's session on the real server, ended by SIGKILL, goes on there; no act is lost or counted twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import requests
from PIL import Image
from slicer_headless.example_ultrasound import made_up_picture

from anomalabel.demo.server_process import server_process

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
CASES = ("head:brain_mri", "picture:breast_ultrasound", "lesion:breast_ultrasound")


@pytest.fixture
def server(tmp_path, offscreen):
    """The address of a server with a small oblique head and two pictures."""
    studies = tmp_path / "studies"
    studies.mkdir()
    k, j, i = np.indices((8, 40, 36))
    head = 200 * ((((i - 18) / 15) ** 2 + ((j - 20) / 17) ** 2) < 1) + 20 * np.sin(i * j / 9.0) + 5 * k
    turn = np.deg2rad(15)
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    affine[:2, :2] = 4 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    nibabel.save(nibabel.Nifti1Image(np.maximum(head, 0).T.astype(np.float32), affine), studies / "head.nii.gz")
    Image.fromarray(made_up_picture(1)).save(studies / "picture.png")
    Image.fromarray(made_up_picture(2, lesion=True)).save(studies / "lesion.png")
    with server_process(studies, tmp_path / "server.log", device="cpu") as url:
        yield url


def session(server: str, out: Path, *further: str) -> subprocess.CompletedProcess:
    """Run the reader's session as a process of its own."""
    command = [sys.executable, "-m", "slicer_headless.review_session", "--server", server, "--reviewer", "anna"]
    cases = [word for case in CASES for word in ("--case", case)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "--out", out, *cases, *further],
        cwd=EXTENSION,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_killed_session_goes_on_at_the_same_finding_and_each_act_counts_once(server, tmp_path):
    out = tmp_path / "session"
    killed = session(server, out, "--kill-in", "picture")
    assert killed.returncode == -9, killed.stderr[-2000:]
    done = session(server, out)
    assert done.returncode == 0, done.stderr[-2000:]
    ledger = [json.loads(line) for line in (out / "pressed.jsonl").read_text().splitlines()]
    (before,) = [line for line in ledger if "killed" in line]
    (after,) = [line for line in ledger if "resumed" in line]
    assert (after["resumed"], after["selected"]) == ("picture", before["selected"])
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert {image: counts["twice"] for image, counts in told.items()} == {"head": 0, "picture": 0, "lesion": 0}
    assert all(counts["pressed"] >= 2 for counts in told.values())
    chains = requests.get(f"{server}/reviews/", timeout=10).json()["images"]
    assert [(chain["image"], chain["verified"]) for chain in chains] == [
        ("head", True),
        ("lesion", True),
        ("picture", True),
    ]
    assert requests.get(f"{server}/datastore/", timeout=10).json()["completed"] == 3
    drawn = {path.stem for path in out.glob("*.png")}
    assert {"picture_resumed", "head_5_reviewed", "lesion_5_reviewed", "picture_5_reviewed"} <= drawn
