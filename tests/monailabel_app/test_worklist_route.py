"""`/worklist` over HTTP, and its orders as MONAI Label's strategies."""

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from server_talk import review, wait_for

from monailabel_app.worklist.orders import ORDERS

ANNA = {"reviewer": "anna", "client": "one"}
BEN = {"reviewer": "ben", "client": "two"}


def test_the_worklist_lists_every_study_with_its_state(client: TestClient, normals: list[Path]) -> None:
    review(client, "n1", "normal")
    told = client.get("/worklist").json()
    assert told.keys() == {"order", "orders", "notes", "seconds_per_lease", "cases"}
    assert (told["order"], tuple(told["orders"]), told["notes"]) == ("first", ORDERS, [])
    assert [case["image"] for case in told["cases"]] == ["head", "n0", "n1", "n2", "n3"]
    assert {case["image"]: case["state"] for case in told["cases"]}["n1"] == "reviewed"
    reviewed = told["cases"][2]
    assert reviewed.pop("utc").endswith("Z")
    assert reviewed == {
        "image": "n1",
        "state": "reviewed",
        "verdict": "normal",
        "reviewer": "A",
        "lease": None,
        "scores": {},
        "rank": None,
        "problem": "",
    }


def test_scores_that_inference_noted_order_the_list(client: TestClient, normals: list[Path]) -> None:
    assert client.post("/infer/clap_attention?image=n2&output=json").status_code == 200
    told = client.get("/worklist?order=most_anomalous").json()
    assert told["cases"][0]["image"] == "n2"
    assert told["cases"][0]["rank"] == 0.5
    assert told["cases"][0]["scores"]["clap_attention"]["image_score"] == 1.0
    assert told["cases"][0]["scores"].keys() == {"clap_attention"}
    assert told["notes"][0].startswith("4 of 5 cases have no scores and come last.")
    assert "not calibrated" in told["notes"][1]


def test_the_random_order_is_stable(client: TestClient, normals: list[Path]) -> None:
    def drawn(seed: int) -> list[str]:
        return [case["image"] for case in client.get(f"/worklist?order=random&seed={seed}").json()["cases"]]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("query", ["order=best", "seed=-1", "seed=x", "seed=99999999999999999999"])
def test_orders_and_seeds_that_are_none_are_422(client: TestClient, query: str) -> None:
    refused = client.get(f"/worklist?{query}")
    assert refused.status_code == 422
    assert query.split("=")[0] in refused.json()["detail"]


def test_a_case_is_opened_by_one_client_at_a_time_and_reviews_still_count(client: TestClient) -> None:
    taken = client.post("/worklist/head/lease", json=ANNA).json()
    assert (taken["image"], taken["reviewer"], taken["seconds"]) == ("head", "anna", 900)
    refused = client.post("/worklist/head/lease", json=BEN)
    assert refused.status_code == 409
    until = taken["until_utc"][11:16]
    assert refused.json() == {
        "detail": f"anna has this case open until {until} UTC. Take another case, or wait until then."
    }
    assert client.get("/worklist?client=one").json()["cases"][0]["lease"]["mine"] is True
    seen = client.get("/worklist?client=two").json()["cases"][0]["lease"]
    assert (seen["reviewer"], seen["mine"], seen["until_utc"]) == ("anna", False, taken["until_utc"])
    assert client.post("/reviews/head", json={"reviewer": "ben", "action": "case_normal"}).status_code == 200
    assert client.delete("/worklist/head/lease?client=two").json() == {"image": "head", "released": False}
    assert client.delete("/worklist/head/lease?client=one").json() == {"image": "head", "released": True}
    assert client.post("/worklist/head/lease", json=BEN).status_code == 200


def test_leases_of_nothing_and_by_nobody(client: TestClient) -> None:
    assert client.post("/worklist/absent/lease", json=ANNA).status_code == 404
    assert client.post("/worklist/..%5Cx/lease", json=ANNA).status_code == 422
    assert client.post("/worklist/head/lease", json={"reviewer": "anna"}).status_code == 422
    assert client.post("/worklist/head/lease", json={**ANNA, "client": ""}).status_code == 422
    assert client.delete("/worklist/head/lease").status_code == 422
    assert client.get("/worklist").json()["cases"][0]["lease"] is None


def test_stock_clients_get_the_next_unreviewed_case(client: TestClient, normals: list[Path]) -> None:
    assert list(client.get("/info/").json()["strategies"]) == list(ORDERS)
    client.post("/infer/clap_attention?image=n2&output=json")
    assert client.post("/activelearning/most_anomalous", json={"client_id": "stock"}).json()["id"] == "n2"
    review(client, "n2", "abnormal")
    assert client.post("/activelearning/most_anomalous", json={}).json()["id"] == "head"
    client.post("/worklist/head/lease", json=ANNA)
    served = client.post("/activelearning/first", json={}).json()
    assert (served["id"], Path(served["path"]).name) == ("n0", "n0.nii.gz")
    for image in ("head", "n0", "n1", "n3"):
        review(client, image, "normal")
    assert client.post("/activelearning/random", json={}).json() == {}


def test_one_file_with_a_strange_name_keeps_nobody_from_the_others(client: TestClient, studies: Path) -> None:
    for name in (b"a:b.nii.gz", b"labels.nii.gz", b"no\xfftext.nii.gz"):
        (Path(os.fsdecode(os.fsencode(studies) + b"/" + name))).write_bytes((studies / "head.nii.gz").read_bytes())
    cases = {case["image"]: case["problem"] for case in client.get("/worklist").json()["cases"]}
    assert sorted(cases) == ["a:b", "head", "labels", "no\\udcfftext"]
    assert [image for image, problem in cases.items() if not problem] == ["head"]
    assert client.post("/activelearning/first", json={}).json()["id"] == "head"
    assert "head" in client.get("/datastore/?output=all").json()["objects"]
    assert client.post("/scoring/clap_attention", json={}).status_code == 200
    wait_for(lambda: client.get("/scoring/").json()["status"] == "DONE")
    assert client.get("/scoring/").json()["report"]["scored"] == 1
