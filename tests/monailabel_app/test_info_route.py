"""What `/info/` tells our own client."""

from fastapi.testclient import TestClient

from anomalabel.config import load_config, shipped_config_names


def test_the_client_learns_of_the_api_the_trainers_and_the_reasons_to_reject(client: TestClient) -> None:
    info = client.get("/info/").json()["anomalabel"]
    assert (info["api"], info["login"], info["reviewer"]) == (1, False, None)
    assert info["worklist_orders"] == ["first", "random", "most_anomalous", "most_uncertain", "most_disagreement"]
    keys = {trainer["name"]: trainer["config_keys"] for trainer in info["trainers"]}
    assert set(keys) == {"few_shot_localization", "unet_reconstruction"}
    assert keys["few_shot_localization"] == ["config", "backbone", "shots", "seed", "healthy"]
    reasons = {config["name"]: config["rejection_reasons"] for config in info["configs"]}
    assert reasons == {name: list(load_config(name).review.rejection_reasons) for name in shipped_config_names()}
    assert "Vessel or choroid plexus" in reasons["brain_mri"]
