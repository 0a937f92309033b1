"""A server that is killed in the middle of a training, as a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from server_talk import wait_for

from anomalabel.demo.server_process import free_port
from anomalabel.model_folder import read_description

REMEDIES = {
    "few_shot_localization": "Start the training again.",
    "unet_reconstruction": "Start it again with the same request: it goes on from its last checkpoint.",
}
PATIENCE_S = 60

HELD_SERVER = """
import sys
from pathlib import Path
import uvicorn
import conftest
from monailabel_app.server import create_app
from monailabel_app.settings import ServerSettings

training = conftest.StandInTraining()
training.gate.clear()
trainings = {"few_shot_localization": training, "unet_reconstruction": training}
app = create_app(ServerSettings(Path(sys.argv[1])), conftest.StandInPipeline(), trainings)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


def answer_of(url: str) -> Any:
    try:
        answer = requests.get(url, timeout=5)
    except requests.ConnectionError:
        return None
    return answer.json() if answer.ok else None


@pytest.mark.parametrize("task", REMEDIES)
@pytest.mark.usefixtures("models", "reconstruction_models")
def test_nothing_is_broken_and_the_next_training_starts_clean(
    studies: Path, start: Any, pipeline: Any, task: str
) -> None:
    shutil.copy(studies / "head.nii.gz", studies / "n0.nii.gz")
    model = studies / "anomalabel" / "models" / task / "brain_mri"
    old = read_description(model)
    port = free_port()
    command = [sys.executable, "-c", HELD_SERVER, str(studies), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=environment) as server:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answer_of(f"{url}/ready"), PATIENCE_S)
        review = {"reviewer": "A", "action": "case_normal"}
        assert requests.post(f"{url}/reviews/n0", json=review, timeout=5).ok
        assert requests.post(f"{url}/train/{task}", json={"seed": 9}, timeout=5).ok
        wait_for(lambda: answer_of(f"{url}/train/")["stage"] == "training", PATIENCE_S)
        server.send_signal(signal.SIGKILL)
    assert json.loads((studies / "anomalabel" / "training.json").read_text())["status"] == "RUNNING"

    again = start()
    wait_for(lambda: again.get("/ready").status_code == 200)
    status = again.get("/train/").json()
    assert (status["status"], status["request"]["seed"]) == ("ERROR", 9)
    assert status["error"].endswith(REMEDIES[task])
    assert again.get("/reviews/n0").json()["verdict"] == "normal"
    assert read_description(model) == old
    assert again.post(f"/infer/{task}?image=head&output=json").status_code == 200
    assert pipeline.requests[0].backbone == str(model)
    again.post(f"/train/{task}", json={"seed": 10})
    wait_for(lambda: again.get("/train/").json()["status"] == "DONE")
    assert read_description(model).seed == 10
