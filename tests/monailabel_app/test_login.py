"""A server with a token file: who is let in, and in whose name reviews are taken."""

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from server_talk import wait_for

from anomalabel.errors import ConfigError
from monailabel_app.safety.tokens import add_token
from monailabel_app.server import access_warnings
from monailabel_app.settings import ServerSettings

REVIEW = {"reviewer": "anna", "action": "case_normal"}
ROUTES = [
    ("GET", "/info/"),
    ("GET", "/info"),
    ("GET", "/datastore/?output=all"),
    ("GET", "/datastore/image?image=head"),
    ("PUT", "/datastore/image"),
    ("GET", "/datastore/label?label=head&tag=final"),
    ("POST", "/activelearning/random"),
    ("POST", "/infer/clap_attention?image=head"),
    ("GET", "/progress/x"),
    ("GET", "/reviews/head"),
    ("POST", "/reviews/head"),
    ("GET", "/worklist"),
    ("POST", "/train/few_shot_localization"),
    ("GET", "/scoring/"),
    ("PUT", "/session/"),
    ("GET", "/openapi.json"),
    ("GET", "/ready/"),
    ("GET", "/no/such/route"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A token file that knows ben."""
    path = tmp_path / "tokens.txt"
    add_token(path, "ben")
    return path


@pytest.fixture
def token(file: Path) -> str:
    """Of anna."""
    return add_token(file, "anna")


@pytest.fixture
def guarded(start: Any, file: Path, token: str) -> TestClient:
    """A server with the token file; its client sends no token of itself."""
    server = start(tokens=file)
    wait_for(lambda: server.get("/ready").status_code == 200)
    return server


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("method", "address"), ROUTES)
def test_without_a_token_every_route_is_401_with_the_remedy(guarded: TestClient, method: str, address: str) -> None:
    refused = guarded.request(method, address, follow_redirects=False)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="AnomaLabel"'
    assert refused.json()["detail"].startswith("This server asks for a login token, and the request has none.")
    assert "ask the server's operator" in refused.json()["detail"]


def test_a_watchdog_needs_no_token(guarded: TestClient) -> None:
    assert guarded.get("/").json()["name"] == "AnomaLabel"
    assert guarded.get("/ready").json()["ready"] is True


def test_the_owner_of_a_token_is_let_in_and_told_who_they_are(guarded: TestClient, token: str) -> None:
    info = guarded.get("/info/", headers=bearing(token)).json()["anomalabel"]
    assert (info["login"], info["reviewer"]) == (True, "anna")
    assert guarded.get("/info/", headers={"authorization": f"bEARER  {token}"}).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Basic {token}", "{token}", "Bearer {token}x", "Bearer x {token}", ""]
)
def test_a_header_without_a_known_token_is_401(guarded: TestClient, token: str, header: str) -> None:
    refused = guarded.get("/info/", headers={"Authorization": header.format(token=token)})
    assert refused.status_code == 401


def test_an_unknown_token_and_two_headers_are_told_apart_from_none(guarded: TestClient, token: str) -> None:
    unknown = guarded.get("/info/", headers=bearing("unknown"))
    assert 'error="invalid_token"' in unknown.headers["WWW-Authenticate"]
    assert "may have been withdrawn" in unknown.json()["detail"]
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer other")]
    assert guarded.get("/info/", headers=twice).status_code == 401


def test_reviews_are_taken_in_the_name_of_the_tokens_owner_only(guarded: TestClient, token: str) -> None:
    kept = guarded.post("/reviews/head", json=REVIEW, headers=bearing(token))
    assert (kept.status_code, kept.json()["reviewer"]) == (200, "anna")
    refused = guarded.post("/reviews/head", json={**REVIEW, "reviewer": "ben"}, headers=bearing(token))
    assert refused.status_code == 403
    assert refused.json()["detail"].startswith("The login token is anna's, the request is in the name of 'ben'.")
    assert len(guarded.get("/reviews/head", headers=bearing(token)).json()["events"]) == 1


def test_cases_are_leased_in_the_name_of_the_tokens_owner_only(guarded: TestClient, token: str) -> None:
    body = {"reviewer": "ben", "client": "c"}
    assert guarded.post("/worklist/head/lease", json=body, headers=bearing(token)).status_code == 403
    leased = guarded.post("/worklist/head/lease", json={**body, "reviewer": "anna"}, headers=bearing(token))
    assert (leased.status_code, leased.json()["reviewer"]) == (200, "anna")


def test_a_token_is_withdrawn_without_a_restart(guarded: TestClient, file: Path, token: str) -> None:
    assert guarded.get("/info/", headers=bearing(token)).status_code == 200
    file.write_text(file.read_text().splitlines()[0] + "\n")
    assert guarded.get("/info/", headers=bearing(token)).status_code == 401
    cleos = add_token(file, "cleo")
    assert guarded.get("/info/", headers=bearing(cleos)).json()["anomalabel"]["reviewer"] == "cleo"


def test_no_log_holds_a_token(guarded: TestClient, token: str, pipeline: Any, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.detect_error = RuntimeError("broken")
    with caplog.at_level(logging.DEBUG):
        assert guarded.post("/infer/clap_attention?image=head", headers=bearing(token)).status_code == 500
        guarded.get("/info/", headers=bearing("wrong-" + token))
        guarded.post("/reviews/head", json={}, headers=bearing(token))
    assert "broken" in caplog.text
    assert token not in caplog.text


def test_a_browser_of_a_named_origin_can_ask_before_and_read_the_refusal(start: Any, file: Path) -> None:
    origin = "https://viewer.example"
    server = start(tokens=file, cors_origins=(origin,))
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization"}
    asked = server.options("/info/", headers={"Origin": origin, **asks})
    assert asked.status_code == 200
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    refused = server.get("/info/", headers={"Origin": origin})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)


def test_without_a_token_file_there_is_no_login(client: TestClient) -> None:
    info = client.get("/info/", headers=bearing("any")).json()["anomalabel"]
    assert (info["login"], info["reviewer"]) == (False, None)
    assert client.post("/reviews/head", json={**REVIEW, "reviewer": "anybody"}).status_code == 200


def test_a_server_does_not_start_with_a_token_file_that_holds_none(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("\n")
    with pytest.raises(ConfigError, match="anomalabel token NAME"):
        ServerSettings(tmp_path, tokens=tmp_path / "tokens.txt")


@pytest.mark.parametrize(
    ("host", "guarded", "named"),
    [
        ("127.0.0.1", False, None),
        ("localhost", True, None),
        ("0.0.0.0", False, "there is no login"),  # noqa: S104, an address to be warned of
        ("192.0.2.7", True, "plain HTTP"),
    ],
)
def test_an_operator_is_warned_of_who_can_read(
    tmp_path: Path, file: Path, host: str, guarded: bool, named: str | None
) -> None:
    warnings = access_warnings(ServerSettings(tmp_path, host, tokens=file if guarded else None))
    assert [named in warning for warning in warnings] == ([] if named is None else [True])
