"""`POST /infer/clap_attention` as Slicer sends it."""

import email
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from pydicom.data import get_testdata_file

from anomalabel.errors import ImageReadError
from anomalabel.finding import FindingsReport
from anomalabel.io.read import read_volume

ROUTE = "/infer/clap_attention"


def parts(response: Response) -> dict[str, tuple[str, bytes]]:
    """Name -> (file name, content) of a multipart reply, by Python's own parser."""
    assert response.status_code == 200, response.text
    header = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(header + response.content)
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(""), part.get_payload(decode=True))
        for part in message.get_payload()
    }


def heatmap_of(content: bytes, tmp_path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    file = tmp_path / "received.nrrd"
    file.write_bytes(content)
    array, header = nrrd.read(str(file), index_order="C")
    return array, header


def post(client: TestClient, query: str, **params: Any) -> Response:
    return client.post(f"{ROUTE}?{query}", data={"params": json.dumps(params)})


def wait_for(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


@contextmanager
def held(pipeline: Any, clients: int) -> Iterator[ThreadPoolExecutor]:
    """Client threads while the pipeline is held; it is let go when the block is left, also by a failure."""
    pipeline.detect_gate.clear()
    with ThreadPoolExecutor(clients) as threads:
        try:
            yield threads
        finally:
            pipeline.detect_gate.set()


def temporary_files(client: TestClient) -> list[Path]:
    return [file for file in client.app.state.server.folder.rglob("*") if "sessions" not in file.parts]


def test_the_reply_holds_findings_and_a_heatmap_on_the_images_grid(
    client: TestClient, studies: Path, tmp_path: Path
) -> None:
    reply = parts(post(client, "image=head", config="brain_mri"))
    assert set(reply) == {"params", "image"}
    report = FindingsReport.model_validate_json(reply["params"][1])
    assert (report.image, report.method, report.heatmap.grid) == ("head", "clap", (5, 6, 7))
    assert reply["image"][0] == "head.heatmap.nrrd"
    source = nibabel.load(studies / "head.nii.gz")
    heatmap, header = heatmap_of(reply["image"][1], tmp_path)
    expected = source.get_fdata(dtype=np.float32).T / source.get_fdata().max()
    assert heatmap.dtype == np.float32
    assert np.isnan(heatmap[:, 0]).all()
    np.testing.assert_allclose(heatmap[:, 1:], expected[:, 1:], rtol=1e-6)
    lps = np.diag([-1, -1, 1]) @ source.affine[:3, :3]
    np.testing.assert_allclose(header["space directions"].T, lps, atol=1e-6)


def test_a_compact_heatmap_decodes_with_slope_and_intercept(client: TestClient, tmp_path: Path) -> None:
    exact, _ = heatmap_of(parts(post(client, "image=head"))["image"][1], tmp_path)
    reply = parts(post(client, "image=head", compact=True))
    report = json.loads(reply["params"][1])
    stored, _ = heatmap_of(reply["image"][1], tmp_path)
    assert stored.dtype == np.uint8
    assert (stored[:, 0] == 0).all()
    decoded = report["heatmap"]["slope"] * stored[:, 1:] + report["heatmap"]["intercept"]
    assert np.abs(decoded - exact[:, 1:]).max() <= report["heatmap"]["slope"] / 2 + 1e-6


def test_one_part_alone_can_be_asked_for(client: TestClient, tmp_path: Path) -> None:
    report = post(client, "image=head&output=json")
    assert report.headers["content-type"] == "application/json"
    assert report.json()["schema"] == "anomalabel.findings/1"
    heatmap, _ = heatmap_of(post(client, "image=head&output=image").content, tmp_path)
    assert heatmap.shape == (7, 6, 5)
    assert post(client, "image=head&output=dicom_seg").status_code == 422


def test_an_uploaded_file_is_used_and_the_id_only_names_it(client: TestClient, studies: Path, pipeline: Any) -> None:
    with (studies / "head.nii.gz").open("rb") as file:
        response = client.post(f"{ROUTE}?image=current", files={"file": ("../../x.nii.gz", file)})
    assert json.loads(parts(response)["params"][1])["image"] == "current"
    assert pipeline.sources[0].name == "upload.nii.gz"
    assert studies not in pipeline.sources[0].parents


def test_dicom_folders_and_zipped_series_are_read(client: TestClient, studies: Path, tmp_path: Path) -> None:
    (studies / "series").mkdir()
    (studies / "series" / "IM1").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    stored = parts(post(client, "image=series"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(studies / "series" / "IM1", "deep/down/IM1")
    sent = parts(client.post(ROUTE, files={"file": ("series.zip", archive.getvalue())}))
    maps = [heatmap_of(reply["image"][1], tmp_path)[0] for reply in (stored, sent)]
    np.testing.assert_array_equal(maps[0], maps[1])
    rows, columns = pydicom.dcmread(studies / "series" / "IM1").pixel_array.shape
    assert json.loads(sent["params"][1])["heatmap"]["grid"] == [columns, rows, 1]


def test_a_sessions_image_can_be_used_many_times(client: TestClient, studies: Path, tmp_path: Path) -> None:
    with (studies / "head.nii.gz").open("rb") as file:
        session = client.put("/session/", files={"files": ("head.nii.gz", file)}).json()["session_id"]
    replies = [parts(post(client, f"session_id={session}&image=head")) for _ in range(2)]
    maps = [heatmap_of(reply["image"][1], tmp_path)[0] for reply in replies]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert client.delete(f"/session/{session}").status_code == 200
    assert post(client, f"session_id={session}").status_code == 422


@pytest.mark.parametrize(
    ("path", "params", "named"),
    [
        (f"{ROUTE}?image=absent", "{}", "absent"),
        (ROUTE, "{}", "names no image"),
        ("/infer/unknown?image=head", "{}", "unknown"),
        (f"{ROUTE}?image=head", '{"image": "/etc/passwd"}', "image"),
        (f"{ROUTE}?image=head", '{"model": "other"}', "model"),
        (f"{ROUTE}?image=head", '{"config": "kidney"}', "kidney"),
        (f"{ROUTE}?image=head", '{"backbone": "biomedclip"}', "biomedclip"),
        (f"{ROUTE}?image=head", "no json", "JSON"),
        (f"{ROUTE}?image=../studies/head", "{}", "image id"),
        (f"{ROUTE}?image=%2e%2e%2fstudies%2fhead", "{}", "image id"),
        (f"{ROUTE}?image=%252e%252e%252fhead", "{}", "There is no image"),
        (f"{ROUTE}?image=/etc/passwd", "{}", "image id"),
        (f"{ROUTE}?session_id=../../etc", "{}", "session id"),
        (f"{ROUTE}?session_id=unknown", "{}", "session"),
        (f"{ROUTE}?image=head&request_id=a/b", "{}", "request id"),
    ],
)
def test_bad_input_is_422_with_the_reason_and_touches_nothing(
    client: TestClient, studies: Path, pipeline: Any, path: str, params: str, named: str
) -> None:
    before = (studies / "head.nii.gz").read_bytes()
    response = client.post(path, data={"params": params})
    assert response.status_code == 422
    assert named in response.json()["detail"]
    assert pipeline.sources == []
    assert (studies / "head.nii.gz").read_bytes() == before


def test_an_unreadable_image_is_named_without_the_servers_folders(client: TestClient, studies: Path) -> None:
    (studies / "text.nii").write_text("not an image")
    response = post(client, "image=text")
    assert response.status_code == 422
    assert "text" in response.json()["detail"]
    assert str(studies) not in response.text


@pytest.mark.parametrize(("name", "content"), [("x.exe", b"MZ"), ("x.nii.gz", b""), ("x.nii.gz", b"\x1f\x8bcut")])
def test_uploads_that_are_no_image_are_422(client: TestClient, name: str, content: bytes) -> None:
    response = client.post(ROUTE, files={"file": (name, content)})
    assert response.status_code == 422
    assert tempfile.gettempdir() not in response.text


def test_a_fault_of_ours_is_500_with_an_id_that_is_in_the_log(
    client: TestClient, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.detect_error = RuntimeError("/secret/path broke")
    response = post(client, "image=head")
    assert response.status_code == 500
    assert "secret" not in response.text
    fault = response.json()["detail"].split("under ")[1].split(".")[0]
    assert any(fault in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.parametrize("error", [None, ImageReadError("bad", "mend"), RuntimeError("broken")])
def test_nothing_but_the_study_is_left_on_the_disk(
    client: TestClient, studies: Path, pipeline: Any, error: Exception | None
) -> None:
    pipeline.detect_error = error
    with (studies / "head.nii.gz").open("rb") as file:
        client.post(ROUTE, files={"file": ("head.nii.gz", file)})
    post(client, "image=head")
    assert len(pipeline.sources) == 2
    assert temporary_files(client) == []
    assert read_volume(studies / "head.nii.gz").shape == (7, 6, 5)


def test_the_server_answers_while_an_inference_runs_and_runs_one_at_a_time(client: TestClient, pipeline: Any) -> None:
    with held(pipeline, 3) as clients:
        running = [clients.submit(post, client, f"image=head&request_id=r{number}") for number in range(3)]
        assert pipeline.entered.wait(10)
        begin = time.monotonic()
        assert client.get("/info/").status_code == 200
        assert client.get("/ready").status_code == 200
        assert time.monotonic() - begin < 2
        wait_for(lambda: all(client.get(f"/progress/r{number}").status_code == 200 for number in range(3)))
        wait_for(lambda: any(client.get(f"/progress/r{number}").json()["done"] for number in range(3)))
        states = [client.get(f"/progress/r{number}").json() for number in range(3)]
        assert sorted(state["running"] for state in states) == [False, False, True]
        assert {(state["done"], state["total"]) for state in states if state["running"]} == {(3, 7)}
        pipeline.detect_gate.set()
        assert [answer.result(20).status_code for answer in running] == [200, 200, 200]
    assert pipeline.most_active == 1
    assert client.get("/progress/r0").status_code == 404


def test_running_and_waiting_requests_can_be_cancelled(client: TestClient, pipeline: Any) -> None:
    with held(pipeline, 2) as clients:
        running = clients.submit(post, client, "image=head&request_id=running")
        assert pipeline.entered.wait(10)
        waiting = clients.submit(post, client, "image=head&request_id=waiting")
        wait_for(lambda: client.get("/progress/waiting").status_code == 200)
        assert post(client, "image=head&request_id=running").status_code == 422
        assert client.delete("/progress/waiting").json() == {"request_id": "waiting", "cancelled": True}
        assert waiting.result(10).status_code == 409
        assert client.delete("/progress/running").status_code == 200
        assert running.result(10).status_code == 409
        assert "cancelled" in running.result().json()["detail"]
    assert len(pipeline.sources) == 1
    assert temporary_files(client) == []
    pipeline.detect_gate.set()
    assert post(client, "image=head").status_code == 200


def test_more_waiting_requests_than_allowed_are_503(start: Any, pipeline: Any) -> None:
    client = start(maximum_waiting=0)
    wait_for(lambda: client.get("/ready").status_code == 200)
    with held(pipeline, 1) as clients:
        running = clients.submit(post, client, "image=head")
        assert pipeline.entered.wait(10)
        refused = post(client, "image=head")
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        pipeline.detect_gate.set()
        assert running.result(10).status_code == 200


def test_a_body_over_the_limit_is_413(start: Any, pipeline: Any) -> None:
    client = start(maximum_upload_bytes=2000)
    wait_for(lambda: client.get("/ready").status_code == 200)
    announced = client.post(ROUTE, files={"file": ("x.nii", bytes(3000))})
    boundary = b"--b\r\nContent-Disposition: form-data; name=file; filename=x.nii\r\n\r\n"
    chunks = iter([boundary, bytes(1500), bytes(1500), b"\r\n--b--\r\n"])
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    streamed = client.post(ROUTE, content=chunks, headers=headers)
    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert "limit" in announced.json()["detail"]
    assert pipeline.sources == []


def test_requests_before_the_models_are_loaded_are_503(start: Any, pipeline: Any) -> None:
    pipeline.warm_gate.clear()
    client = start()
    assert post(client, "image=head").status_code == 503
    pipeline.warm_gate.set()
    wait_for(lambda: post(client, "image=head").status_code == 200)
