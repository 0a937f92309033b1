"""Everything the server offers beside inference, and what it does not."""

import io
import threading
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom.data import get_testdata_file

from anomalabel.config import shipped_config_names
from anomalabel.errors import ConfigError, ModelError
from anomalabel.io.read import read_volume
from monailabel_app.datastore.studies import StudiesDatastore
from monailabel_app.settings import ServerSettings
from monailabel_app.strategies.next_case import NextCase


def until_changed(client: TestClient, before: str) -> Any:
    for _ in range(500):
        response = client.get("/ready")
        if response.text != before:
            return response
    raise AssertionError(before)


def test_ready_says_what_is_loaded_and_then_that_it_is(start: Any, pipeline: Any) -> None:
    pipeline.warm_gate.clear()
    client = start(backbones=("embedded", "biomedclip"))
    waiting = client.get("/ready")
    assert waiting.status_code == 503
    assert "embedded" in waiting.json()["detail"]
    assert client.get("/info/").status_code == 200
    pipeline.warm_gate.set()
    for _ in range(1000):
        if client.get("/ready").status_code == 200:
            break
    assert client.get("/ready").json() == {"ready": True, "backbones": ["embedded", "biomedclip"]}


@pytest.mark.parametrize(
    ("error", "told", "hidden"),
    [
        (ModelError("No weights.", "Pull them."), "Pull them.", "Traceback"),
        (RuntimeError("/secret/weights"), "RuntimeError", "/secret"),
    ],
)
def test_ready_tells_why_a_model_could_not_be_loaded(
    start: Any, pipeline: Any, error: Exception, told: str, hidden: str
) -> None:
    pipeline.warm_gate.clear()
    pipeline.warm_error = error
    client = start()
    before = client.get("/ready").text
    pipeline.warm_gate.set()
    failed = until_changed(client, before)
    assert failed.status_code == 503
    assert told in failed.json()["detail"]
    assert hidden not in failed.text


def test_info_is_monailabels_and_lists_configs_with_their_prompts(client: TestClient) -> None:
    info = client.get("/info/").json()
    assert info["name"] == "AnomaLabel"
    assert info["models"]["clap_attention"]["config"]["backbone"] == ["embedded"]
    assert info["datastore"]["total"] == 1
    own = info["anomalabel"]
    assert own["backbones"] == ["embedded"]
    assert [config["name"] for config in own["configs"]] == list(shipped_config_names())
    brain = next(config for config in own["configs"] if config["name"] == "brain_mri")
    assert brain["title"] == "Brain MRI"
    assert brain["positive"] == ["Glioma, Astrocytoma, Oligodendroglioma"]
    assert brain["negative"] == ["Normal, Healthy gray matter"]


def test_studies_are_listed_downloaded_and_chosen_as_in_monailabel(client: TestClient, studies: Path) -> None:
    assert list(client.get("/datastore/?output=all").json()["objects"]) == ["head"]
    assert client.get("/datastore/image?image=head").content == (studies / "head.nii.gz").read_bytes()
    assert client.head("/datastore/image?image=head").status_code == 200
    assert client.get("/datastore/image?image=absent").status_code == 404
    assert client.post("/activelearning/random", json={}).json()["id"] == "head"
    assert client.post("/activelearning/unknown", json={}).status_code == 404


def test_a_dicom_series_is_downloaded_as_one_nrrd(client: TestClient, studies: Path, tmp_path: Path) -> None:
    (studies / "series").mkdir()
    (studies / "series" / "IM1").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    response = client.get("/datastore/image?image=series")
    assert 'filename="series.nrrd"' in response.headers["content-disposition"]
    (tmp_path / "series.nrrd").write_bytes(response.content)
    received, original = read_volume(tmp_path / "series.nrrd"), read_volume(studies / "series")
    np.testing.assert_array_equal(received.array, original.array)
    np.testing.assert_allclose(received.affine_ras, original.affine_ras, atol=1e-5)


def test_images_are_added_but_never_replaced_or_deleted(client: TestClient, studies: Path) -> None:
    before = (studies / "head.nii.gz").read_bytes()
    image = nibabel.Nifti1Image(np.ones((2, 3, 4), np.float32), np.eye(4)).to_bytes()
    assert client.put("/datastore/image", files={"file": ("new.nii", image)}).json() == {"image": "new"}
    assert client.put("/datastore/?image=newer", files={"file": ("x.nii", image)}).json() == {"image": "newer"}
    assert (studies / "new.nii").read_bytes() == image
    assert client.put("/datastore/image?image=head", files={"file": ("x.nii", image)}).status_code == 409
    assert client.put("/datastore/image?image=../x", files={"file": ("x.nii", image)}).status_code == 422
    assert client.put("/datastore/image", files={"file": ("x.sh", b"#!")}).status_code == 422
    assert client.delete("/datastore/image?id=head").status_code == 405
    assert (studies / "head.nii.gz").read_bytes() == before


def test_labels_are_saved_read_and_removed(client: TestClient, studies: Path) -> None:
    label = {"label": ("label.nrrd", io.BytesIO(b"label voxels"))}
    assert client.put("/datastore/label?image=head&tag=final", files=label).json()["label"] == "head"
    assert client.get("/datastore/label?label=head&tag=final").content == b"label voxels"
    assert client.delete("/datastore/label?id=head&tag=final").status_code == 200
    assert not list((studies / "labels").rglob("*.nrrd"))
    assert client.put("/datastore/label?image=absent", files=label).status_code == 404


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/datastore/image?image=../secret"),
        ("GET", "/datastore/image?image=%2e%2e%2fsecret"),
        ("GET", "/datastore/image/info?image=/etc/passwd"),
        ("PUT", "/datastore/image/info?image=../secret"),
        ("GET", "/datastore/label?label=head&tag=../.."),
        ("GET", "/datastore/label?label=../secret&tag=final"),
        ("PUT", "/datastore/label?image=head&tag=../../escape"),
        ("DELETE", "/datastore/label?id=../secret&tag=final"),
        ("DELETE", "/datastore/label?id=head&tag=/etc"),
        ("PUT", "/datastore/label/info?label=head&tag=.."),
        ("GET", "/session/..%5csecret"),
        ("DELETE", "/session/.hidden"),
    ],
)
def test_names_that_leave_their_folder_are_422_on_every_route(
    client: TestClient, studies: Path, tmp_path: Path, method: str, address: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    files = {"label": ("x.nrrd", b"x")} if method == "PUT" else None
    response = client.request(method, address, files=files)
    assert response.status_code == 422
    assert (tmp_path / "secret").read_text() == "secret"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["secret", "studies"]


@pytest.mark.parametrize(
    "address",
    ["/proxy/dicom/%2e%2e/", "/ohif/", "/docs", "/logs/", "/auth/token", "/model/x", "/reload"],
)
def test_routes_of_monailabel_that_are_not_needed_are_gone(client: TestClient, address: str) -> None:
    assert client.get(address).status_code in {404, 405}
    assert client.post(address).status_code in {404, 405}


def test_sessions_take_one_image_and_show_no_folder(client: TestClient, studies: Path) -> None:
    image = (studies / "head.nii.gz").read_bytes()
    created = client.put("/session/", files={"files": ("head.nii.gz", image)}).json()
    found = client.get(f"/session/{created['session_id']}").json()
    assert found["expiry"] == 3600
    assert not {"path", "image"} & found.keys()
    assert client.put("/session/?uncompress=true", files={"files": ("x.nii", image)}).status_code == 422
    assert client.put("/session/", files={"files": ("x.tar", image)}).status_code == 422
    assert client.get("/session/unknown").status_code == 404


def test_web_pages_of_other_origins_cannot_read_or_rebind(client: TestClient) -> None:
    foreign = client.get("/info/", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in foreign.headers if name.startswith("access-control")]
    assert client.get("/info/", headers={"Host": "rebound.example"}).status_code == 400


def test_a_named_origin_may_read_without_credentials(start: Any) -> None:
    client = start(cors_origins=("https://viewer.example",))
    headers = client.get("/info/", headers={"Origin": "https://viewer.example"}).headers
    assert headers["access-control-allow-origin"] == "https://viewer.example"
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    ("setting", "value"),
    [("studies", Path("/no/such/folder")), ("backbones", ()), ("port", 70000), ("cors_origins", ("*",))],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(ConfigError):
        ServerSettings(**{"studies": tmp_path, setting: value})


def test_routes_of_monailabel_do_not_keep_others_waiting(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    real = NextCase.__call__

    def noticed(self: NextCase, *values: Any) -> Any:
        threads.append(threading.current_thread().name)
        return real(self, *values)

    monkeypatch.setattr(NextCase, "__call__", noticed)
    assert client.post("/activelearning/first", json={}).json()["id"] == "head"
    assert [name.startswith("AnyIO worker") for name in threads] == [True]


def test_of_two_uploads_under_one_id_one_is_kept(
    client: TestClient, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (studies / "head.nii.gz").read_bytes()
    real = StudiesDatastore.add_image

    def slow(self: StudiesDatastore, *values: Any) -> str:
        time.sleep(0.1)
        return real(self, *values)

    monkeypatch.setattr(StudiesDatastore, "add_image", slow)
    answers = []

    def send() -> None:
        answers.append(client.put("/datastore/image?image=new", files={"file": ("x.nii.gz", content)}).status_code)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(answers) == [200, 409]
