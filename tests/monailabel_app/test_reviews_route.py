"""`/reviews/IMAGE` over HTTP."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from server_talk import ended

from anomalabel.io.label_map import read_label_map, write_label_map
from anomalabel.io.read import read_volume

REVIEW = {"reviewer": "Dr. A", "action": "case_normal", "client": "test"}


def test_a_review_is_kept_and_read_back(client: TestClient, studies: Path) -> None:
    nothing = client.get("/reviews/head").json()
    assert nothing == {
        "image": "head",
        "state": "new",
        "verdict": None,
        "events": [],
        "warnings": [],
        "last_sha256": None,
    }
    finding = {"reviewer": "B", "action": "rejected", "finding_id": "f", "before": {"score": 1.5}}
    kept = [client.post("/reviews/head", json=body).json() for body in (REVIEW, finding)]
    told = client.get("/reviews/head").json()
    assert told["events"] == kept
    assert (told["verdict"], told["state"]) == ("normal", "reviewed")
    lines = (studies / "anomalabel" / "reviews" / "head.jsonl").read_bytes().splitlines()
    assert told["last_sha256"] == hashlib.sha256(lines[-1]).hexdigest()
    assert kept[1]["before"] == {"score": 1.5}
    assert (studies / "anomalabel" / "reviews" / "head.jsonl").is_file()
    assert list(client.get("/datastore/?output=all").json()["objects"]) == ["head"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({**REVIEW, "action": "case_healthy"}, "action"),
        ({**REVIEW, "finding_id": "f"}, "finding_id"),
        ({**REVIEW, "previous_sha256": "0" * 64}, "previous_sha256"),
        ({"action": "case_normal"}, "reviewer"),
    ],
)
def test_bad_reviews_are_422_with_the_reason(client: TestClient, body: dict[str, str], named: str) -> None:
    refused = client.post("/reviews/head", json=body)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]
    assert client.get("/reviews/head").json()["events"] == []


def test_images_that_are_not_there_and_names_that_are_none(client: TestClient, tmp_path: Path) -> None:
    assert client.post("/reviews/absent", json=REVIEW).status_code == 404
    assert client.post("/reviews/..%5Cx", json=REVIEW).status_code == 422
    assert client.post("/reviews/anomalabel", json=REVIEW).status_code == 422
    assert client.get("/reviews/.hidden").status_code == 422
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["studies"]


def test_a_torn_event_is_told_and_a_broken_chain_is_the_servers_fault(client: TestClient, studies: Path) -> None:
    client.post("/reviews/head", json=REVIEW)
    file = studies / "anomalabel" / "reviews" / "head.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event_')
    told = client.get("/reviews/head").json()
    assert (len(told["events"]), "cut off" in told["warnings"][0]) == (1, True)
    file.write_bytes(whole.replace(b"Dr. A", b"Dr. B") + whole)
    broken = client.get("/reviews/head")
    assert broken.status_code == 500
    assert "head.jsonl, line 2" in broken.json()["detail"]
    assert str(studies) not in broken.text


def mask_of(studies: Path, folder: Path) -> tuple[str, bytes]:
    """SHA-256 and content of a label map on head's grid: 2 at the voxel (i, j, k) = (4, 3, 2), 0 elsewhere."""
    volume = read_volume(studies / "head.nii.gz")
    labels = np.zeros(volume.shape, np.uint8)
    labels[2, 3, 4] = 2
    write_label_map(folder / "mask.nrrd", labels, volume.affine_ras)
    content = (folder / "mask.nrrd").read_bytes()
    return hashlib.sha256(content).hexdigest(), content


def test_a_corrected_mask_is_sent_named_and_becomes_the_final_label(
    client: TestClient, studies: Path, tmp_path: Path
) -> None:
    sha256, content = mask_of(studies, tmp_path)
    segmented = {"reviewer": "A", "action": "segmented", "after": {"mask_sha256": sha256, "finding_ids": ["f"]}}
    early = client.post("/reviews/head", json=segmented)
    assert early.status_code == 422
    assert f"PUT /reviews/head/masks/{sha256}" in early.json()["detail"]
    for _ in range(2):
        sent = client.put(f"/reviews/head/masks/{sha256}", files={"file": ("x", content)})
        assert sent.json() == {"image": "head", "sha256": sha256}
    kept = list((studies / "anomalabel" / "reviews" / "masks" / "head").iterdir())
    assert [(path.name, path.read_bytes()) for path in kept] == [(f"{sha256}.nrrd", content)]
    assert client.get(f"/reviews/head/masks/{sha256}").content == content
    assert client.get(f"/reviews/head/masks/{'0' * 64}").status_code == 422
    assert client.post("/reviews/head", json=segmented).status_code == 200
    assert client.get("/datastore/").json()["completed"] == 0
    client.post("/reviews/head", json={"reviewer": "A", "action": "case_abnormal"})
    assert client.get("/datastore/").json()["completed"] == 1
    (tmp_path / "label.nrrd").write_bytes(client.get("/datastore/label?label=head&tag=final").content)
    labels = read_label_map(tmp_path / "label.nrrd").labels
    assert [tuple(index) for index in np.argwhere(labels)] == [(2, 3, 4)]
    assert labels[2, 3, 4] == 2
    info = client.get("/datastore/label/info?label=head&tag=final").json()
    assert (info["verdict"], info["reviewer"], info["kind"]) == ("abnormal", "A", "segmentation")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda voxels, affine: (voxels[:-1], affine), "grid"),
        (lambda voxels, affine: (voxels, affine + np.eye(4) * 0.5), "grid"),
        (lambda voxels, affine: (voxels + 0.5, affine), "whole numbers"),
    ],
)
def test_masks_that_do_not_fit_are_422_and_not_kept(
    client: TestClient, studies: Path, change: object, reason: str
) -> None:
    image = nibabel.load(studies / "head.nii.gz")
    voxels, affine = change(np.zeros(image.shape, np.float32), image.affine)
    content = nibabel.Nifti1Image(voxels, affine).to_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    refused = client.put(f"/reviews/head/masks/{sha256}", files={"file": ("m.nii", content)})
    assert refused.status_code == 422
    assert reason in refused.json()["detail"]
    assert str(studies) not in refused.text
    assert not (studies / "anomalabel" / "reviews" / "masks").exists()


def test_mask_addresses_that_are_none(client: TestClient, studies: Path, tmp_path: Path) -> None:
    sha256, content = mask_of(studies, tmp_path)
    send = {"file": ("m.nrrd", content)}
    assert "SHA-256 of its address" in client.put(f"/reviews/head/masks/{'0' * 64}", files=send).json()["detail"]
    assert client.put("/reviews/head/masks/abc", files=send).status_code == 422
    assert client.put(f"/reviews/absent/masks/{sha256}", files=send).status_code == 404
    assert client.put(f"/reviews/..%5Cx/masks/{sha256}", files=send).status_code == 422
    assert not (studies / "anomalabel" / "reviews" / "masks").exists()


def test_all_chains_are_verified_on_request(client: TestClient, studies: Path, normals: list[Path]) -> None:
    for image in ("n2", "n1", "head"):
        client.post(f"/reviews/{image}", json=REVIEW)
        client.post(f"/reviews/{image}", json=REVIEW)
    file = studies / "anomalabel" / "reviews" / "n1.jsonl"
    file.write_bytes(file.read_bytes().replace(b"Dr. A", b"Dr. B", 1))
    told = {one["image"]: one for one in client.get("/reviews/").json()["images"]}
    assert list(told) == ["head", "n1", "n2"]
    assert told["head"] == {"image": "head", "events": 2, "verified": True, "problem": ""}
    assert (told["n1"]["events"], told["n1"]["verified"]) == (1, False)
    assert "n1.jsonl, line 2" in told["n1"]["problem"]


def test_the_servers_count_of_finished_images_follows_the_reviews(
    client: TestClient, studies: Path, normals: list[Path]
) -> None:
    def completed() -> int:
        count: int = client.get("/datastore/").json()["completed"]
        return count

    def act(image: str, reviewer: str, action: str) -> None:
        body = {"reviewer": reviewer, "action": action}
        assert client.post(f"/reviews/{image}", json=body).status_code == 200

    act("n0", "A", "case_normal")
    act("n1", "A", "case_abnormal")
    assert completed() == 2
    act("n1", "B", "case_normal")
    assert (completed(), client.get("/reviews/n1").json()["state"]) == (1, "second_reader")
    act("n1", "C", "case_normal")
    assert completed() == 2
    act("n0", "A", "case_reopened")
    assert completed() == 1
    assert [path.name for path in (studies / "labels" / "final").iterdir()] == ["n1.nrrd"]


def test_nothing_is_learned_from_an_image_that_waits_for_its_second_reader(
    ready: TestClient, studies: Path, training: Any
) -> None:
    asked = {"reviewer": "A", "action": "second_reader"}
    assert ready.post("/reviews/n1", json=asked).status_code == 200
    for body in ({"config": "brain_mri"}, {"config": "brain_mri", "healthy": "cohort"}):
        (studies / "cohort").mkdir(exist_ok=True)
        (studies / "cohort" / "n1.nii.gz").write_bytes((studies / "n1.nii.gz").read_bytes())
        assert ready.post("/train/few_shot_localization", json=body).status_code == 200
        assert ended(ready)["status"] == "DONE"
    by_review, by_folder = training.calls
    assert [path.name for path in by_review["healthy"]] == ["n0.nii.gz", "n2.nii.gz"]
    assert by_review["abnormal"] == by_folder["abnormal"] == {"head", "n1"}


def test_a_full_disk_is_not_the_requests_fault(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("monailabel_app.reviews.store.os.fsync", full)
    refused = client.post("/reviews/head", json=REVIEW)
    assert refused.status_code == 507
    assert "Make room on the disk" in refused.json()["detail"]
    monkeypatch.undo()
    assert client.post("/reviews/head", json=REVIEW).status_code == 200
    assert len(client.get("/reviews/head").json()["events"]) == 1


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"', "[" * 250 + "]" * 250])
def test_an_event_that_cannot_be_kept_is_422_and_the_next_one_is_taken(client: TestClient, value: str) -> None:
    body = f'{{"reviewer": "A", "action": "added", "finding_id": "f", "after": {{"score": {value}}}}}'
    refused = client.post("/reviews/head", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert "finite numbers" in refused.json()["detail"]
    assert client.post("/reviews/head", json=REVIEW).status_code == 200
    assert len(client.get("/reviews/head").json()["events"]) == 1


def test_a_file_that_cannot_be_read_is_the_servers_fault(client: TestClient, studies: Path) -> None:
    (studies / "anomalabel" / "reviews" / "head.jsonl").mkdir(parents=True)
    refused = client.post("/reviews/head", json=REVIEW)
    assert refused.status_code == 500
    assert "reviews/head.jsonl cannot be read" in refused.json()["detail"]


def test_a_request_with_many_faults_names_the_first_few(client: TestClient) -> None:
    refused = client.post("/reviews/head", json={**REVIEW, **{f"{number:0200d}": 1 for number in range(1000)}})
    assert refused.status_code == 422
    assert refused.json()["detail"].count("Extra inputs") == 8
    assert "and 992 more" in refused.json()["detail"]
    assert len(refused.content) < 2000


def test_a_body_that_is_no_upload_is_small(client: TestClient) -> None:
    big = b'{"client": "' + b"x" * 9 * 1024**2 + b'"}'
    for content in (big, iter([big])):
        refused = client.post("/reviews/head", content=content, headers={"Content-Type": "application/json"})
        assert refused.status_code == 413
        assert "larger than 8388608 bytes" in refused.json()["detail"]
