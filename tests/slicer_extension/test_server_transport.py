"""Every kind of call against a server that is gone, slow, foreign, of another version or closed to us."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from AnomaLabelLib.errors import (
    CaseTakenError,
    LoginError,
    PanelError,
    ReplyError,
    RequestRefusedError,
    RunCancelledError,
    ServerFailedError,
    ServerNotReadyError,
    ServerTimeoutError,
    ServerUnreachableError,
    VersionError,
    retryable,
)
from AnomaLabelLib.server.client import Client, Limits
from AnomaLabelLib.server.parameters import RunParameters
from small_server import Reply, SmallServer, small_server

QUICK = Limits(connect_s=1, answer_s=0.2, result_s=0.3, result_bytes=1 << 20)
EVENT = {"event_id": "6f2a6f7e-0f34-4b57-9a55-0d7f3f7b5c01", "reviewer": "anna", "action": "case_normal"}
HTML = b"<!DOCTYPE html><html><body>Please log in to the guest network</body></html>"

CALLS: dict[str, Callable[[Client], object]] = {
    "info": lambda client: client.info(),
    "studies": lambda client: client.studies(),
    "infer": lambda client: client.infer(RunParameters("clap_attention", "brain_mri"), "id-1", "scan"),
    "worklist": lambda client: client.worklist("first"),
    "lease": lambda client: client.lease("scan", "anna"),
    "reviews": lambda client: client.reviews("scan"),
    "send_event": lambda client: client.send_event("scan", EVENT),
    "send_mask": lambda client: client.send_mask("scan", "0" * 64, b"mask"),
    "training": lambda client: client.training(),
    "start_scoring": lambda client: client.start_scoring("clap_attention", {"config": "brain_mri"}),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(scope="module")
def one_server() -> Iterator[SmallServer]:
    with small_server() as served:
        yield served


@pytest.fixture
def server(one_server) -> SmallServer:
    one_server.replies.clear()
    one_server.requests.clear()
    return one_server


def answer_all(server: SmallServer, reply: Reply) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        server.answer(method, "*", reply)


def error_of(server: SmallServer, call: Callable[[Client], object], login: str = "") -> PanelError:
    with pytest.raises(PanelError) as caught:
        call(Client(server.url, QUICK, login))
    return caught.value


def words(text: str, status: int, **changes) -> Reply:
    return Reply(json.dumps({"detail": text}).encode(), status, **changes)


@each_call
def test_nothing_listens(call):
    with small_server() as server:
        pass
    error = error_of(server, call)
    assert type(error) is ServerUnreachableError
    assert error.cause == f"{server.url} cannot be reached."
    assert error.remedy == "Check that the server runs and that address and port are right."
    assert retryable(error)


def test_a_server_that_does_not_speak_https(server):
    with pytest.raises(ServerUnreachableError) as caught:
        Client(server.url.replace("http:", "https:"), QUICK).info()
    assert caught.value.cause.startswith("No secure connection to https://127.0.0.1:")
    assert "trusts its certificate" in caught.value.remedy


@each_call
def test_a_server_that_says_nothing(server, call):
    released = threading.Event()
    answer_all(server, Reply(wait=lambda: released.wait(5)))
    error = error_of(server, call)
    released.set()
    assert type(error) is ServerTimeoutError
    assert error.cause.startswith(f"{server.url} took the request but sent nothing for 0.")
    assert error.remedy == "Try again; if it stays so, look at the server's log."
    assert retryable(error)


@each_call
def test_a_server_that_dies_before_it_answers(server, call):
    answer_all(server, Reply(hang_up=True))
    error = error_of(server, call)
    assert type(error) is ServerUnreachableError
    assert error.cause == f"{server.url} broke the connection before it answered."
    assert error.remedy == "Check that the server still runs, then try again."
    assert retryable(error)


@each_call
def test_a_server_that_dies_in_the_middle_of_its_answer(server, call):
    answer_all(server, Reply(b'{"cases": [{"ima', stated_length=4000))
    error = error_of(server, call)
    assert type(error) is ServerFailedError
    assert (error.cause, error.remedy) == ("The connection broke in the middle of the answer.", "Try again.")
    assert retryable(error)


def test_an_answer_that_stops_in_the_middle_and_leaves_the_connection_open():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = threading.Event()

        def stall() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{")
                closed.wait(5)

        threading.Thread(target=stall, daemon=True).start()
        with pytest.raises(ServerTimeoutError, match=r"sent nothing for 0\.2 s"):
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}", QUICK).worklist("first")
        closed.set()


@each_call
def test_a_page_in_place_of_an_answer(server, call):
    answer_all(server, Reply(HTML, content_type="text/html"))
    error = error_of(server, call)
    assert type(error) is ReplyError
    assert "no JSON" in error.cause or "of type 'text/html'" in error.cause
    assert "Check the address; a proxy" in error.remedy or error.remedy.startswith("Run again; if it stays so")
    assert not retryable(error)


@each_call
@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_does_not_reach_the_server(server, call, status):
    answer_all(server, Reply(HTML, status, content_type="text/html"))
    error = error_of(server, call)
    assert type(error) is ServerFailedError
    assert error.cause == f"A proxy in front of the server gets no answer from it (HTTP {status})."
    assert error.remedy == "Wait a moment; if it stays so, ask who runs the server."
    assert retryable(error)


@each_call
def test_a_fault_of_the_server(server, call):
    answer_all(server, words("The server failed; its log says why under 1a2b3c4d.", 500))
    error = error_of(server, call)
    assert type(error) is ServerFailedError
    assert error.cause == "The server failed (HTTP 500). The server failed; its log says why under 1a2b3c4d."
    assert retryable(error)


@each_call
def test_a_server_whose_model_is_loading(server, call):
    answer_all(server, words("Loading embedded", 503))
    error = error_of(server, call)
    assert type(error) is ServerNotReadyError
    assert error.cause == "The server is not ready: Loading embedded"
    assert retryable(error)


@each_call
def test_a_redirect_is_told_and_not_followed(server, call):
    with small_server() as elsewhere:
        answer_all(server, Reply(b"", 307, headers={"Location": f"{elsewhere.url}/info/"}))
        error = error_of(server, call, login="secret")
        assert elsewhere.requests == []
    assert type(error) is ReplyError
    assert error.cause == f"The server sends on to another address (HTTP 307): {elsewhere.url}/info/"
    assert error.remedy.startswith("If you trust it, enter that address")
    assert not retryable(error)


@each_call
def test_an_answer_without_end(server, call):
    answer_all(server, Reply(b" " * ((16 << 20) + 1)))
    error = error_of(server, call)
    assert type(error) is ReplyError
    assert error.cause in {f"The server's answer is larger than {limit} MiB." for limit in (1, 16)}
    assert error.remedy == "Check that the address is that of an AnomaLabel server."


@each_call
def test_a_server_that_wants_a_token(server, call):
    answer_all(server, words("Send a token.", 401))
    error = error_of(server, call)
    assert type(error) is LoginError
    assert error.cause == "The server asks for a login token and none is entered."
    assert "under Settings" in error.remedy
    assert not retryable(error)
    assert all("Authorization" not in asked.headers for asked in server.requests)


@each_call
def test_a_token_that_the_server_does_not_know(server, call):
    answer_all(server, words("No reviewer has this token.", 401))
    error = error_of(server, call, login=" old-token\n")
    assert type(error) is LoginError
    assert error.cause == "No reviewer has this token."
    assert "under Settings" in error.remedy
    assert [asked.headers["Authorization"] for asked in server.requests] == ["Bearer old-token"]


@each_call
def test_a_token_of_somebody_else(server, call):
    answer_all(server, words("The token is anna's and the event says bob.", 403))
    error = error_of(server, call, login="t")
    assert type(error) is LoginError
    assert error.cause == "The server denies this: The token is anna's and the event says bob."


def test_a_firewall_that_forbids_is_no_login(server):
    answer_all(server, Reply(HTML, 403, content_type="text/html"))
    error = error_of(server, CALLS["worklist"], login="t")
    assert type(error) is ReplyError
    assert error.cause == "The server answered with HTTP 403."


@pytest.mark.parametrize("token", ["two words", "tab\tinside", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_one(token):
    with pytest.raises(LoginError, match="spaces or characters that no token has") as caught:
        Client("127.0.0.1:1", token=token)
    assert "Settings" in caught.value.remedy


@each_call
@pytest.mark.parametrize(("status", "text"), [(404, "Not Found"), (405, "Method Not Allowed")])
def test_a_server_that_is_too_old_for_the_question(server, call, status, text):
    answer_all(server, words(text, status))
    error = error_of(server, call)
    assert type(error) is VersionError
    assert "older than this extension" in error.cause
    assert "update AnomaLabel" in error.remedy
    assert not retryable(error)


@each_call
@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_servers_own_refusals_are_told_in_its_words(server, call, status):
    answer_all(server, words("The image's name is no plain name. Rename it.", status))
    error = error_of(server, call)
    assert type(error) is RequestRefusedError
    assert error.cause == "The image's name is no plain name. Rename it."
    assert error.remedy.startswith("Follow that advice")
    assert not retryable(error)


@pytest.mark.parametrize(
    ("call", "kind", "cause"),
    [
        ("infer", RunCancelledError, "The run was cancelled."),
        ("lease", CaseTakenError, "anna has this case open until 12:40 UTC."),
        ("start_scoring", RequestRefusedError, "anna has this case open until 12:40 UTC."),
        ("send_event", RequestRefusedError, "anna has this case open until 12:40 UTC."),
    ],
)
def test_a_conflict_means_another_thing_for_each_call(server, call, kind, cause):
    answer_all(server, words("anna has this case open until 12:40 UTC.", 409))
    error = error_of(server, CALLS[call])
    assert type(error) is kind
    assert error.cause == cause
    assert error.remedy
    assert not retryable(error)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"detail": ' * 50_000], ids=["list", "object"])
@pytest.mark.parametrize("status", [200, 500])
def test_json_that_is_nested_without_end(server, body, status):
    answer_all(server, Reply(body, status))
    assert isinstance(error_of(server, CALLS["worklist"]), ReplyError)


def test_an_upload_may_take_longer_than_connecting():
    content = bytes(24 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = 0

        def take_slowly() -> None:
            nonlocal received
            connection, _address = listener.accept()
            with connection:
                while received < len(content):
                    received += len(connection.recv(1 << 20))
                    time.sleep(0.03)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 78\r\n\r\n" + b'{"sha256": "%s"}' % (b"0" * 64))

        thread = threading.Thread(target=take_slowly, daemon=True)
        thread.start()
        began = time.monotonic()
        limits = Limits(connect_s=0.3, answer_s=2, result_s=2)
        Client(f"http://127.0.0.1:{listener.getsockname()[1]}", limits).send_mask("scan", "0" * 64, content)
        assert time.monotonic() - began > 2 * limits.connect_s
        thread.join(5)
    assert received >= len(content)
