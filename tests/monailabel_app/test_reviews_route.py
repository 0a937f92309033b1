"""`/reviews/IMAGE` over HTTP."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

REVIEW = {"reviewer": "Dr. A", "action": "case_normal", "client": "test"}


def test_a_review_is_kept_and_read_back(client: TestClient, studies: Path) -> None:
    nothing = client.get("/reviews/head").json()
    assert nothing == {"image": "head", "verdict": None, "events": [], "warnings": []}
    finding = {"reviewer": "B", "action": "rejected", "finding_id": "f", "before": {"score": 1.5}}
    kept = [client.post("/reviews/head", json=body).json() for body in (REVIEW, finding)]
    told = client.get("/reviews/head").json()
    assert told["events"] == kept
    assert told["verdict"] == "normal"
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


def test_a_torn_event_is_told_and_a_broken_chain_is_422(client: TestClient, studies: Path) -> None:
    client.post("/reviews/head", json=REVIEW)
    file = studies / "anomalabel" / "reviews" / "head.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event_')
    told = client.get("/reviews/head").json()
    assert (len(told["events"]), "cut off" in told["warnings"][0]) == (1, True)
    file.write_bytes(whole.replace(b"Dr. A", b"Dr. B") + whole)
    broken = client.get("/reviews/head")
    assert broken.status_code == 422
    assert "head.jsonl, line 2" in broken.json()["detail"]
    assert str(studies) not in broken.text
