"""The client against a server that answers, fails, lies, waits and vanishes."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from AnomaLabelLib.errors import (
    AddressError,
    PanelError,
    ReplyError,
    RequestRefusedError,
    RunCancelledError,
    ServerNotReadyError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from AnomaLabelLib.server.client import Client, Limits
from AnomaLabelLib.server.parameters import RunParameters
from example_results import affine, finding, nrrd_bytes, report
from small_server import INFO, Reply, offer_everything, result_reply, small_server

MATRIX = affine((0, 0, 0), (1, 1, 1), (0, 0, 0))
PARAMETERS = RunParameters("clap_attention", "brain_mri", "embedded", positive=("Glioma",))
QUICK = Limits(connect_s=1, answer_s=0.2, result_s=0.3, result_bytes=1 << 20)


@pytest.fixture
def server():
    with small_server() as served:
        offer_everything(served)
        yield served


@pytest.fixture
def client(server):
    return Client(server.url, QUICK)


def good_reply(**changes) -> Reply:
    values = np.zeros((4, 5, 6), np.float32)
    values[1:3, 1:3, 1:3] = 0.8
    text = json.dumps(report(values, [finding(MATRIX, (1, 1, 1), (2, 2, 2))]))
    return result_reply(text, nrrd_bytes(values, MATRIX), **changes)


def test_info_ready_and_studies(client):
    facts = client.info()
    assert facts.version == "0.1.0"
    assert {name: (facts.task(name).learns, facts.task(name).maps) for name in facts.tasks} == {
        "clap_attention": (False, ()),
        "few_shot_localization": (True, ("uncertainty",)),
        "unet_reconstruction": (True, ("saliency", "reconstruction")),
    }
    for task, shots in (("few_shot_localization", 16), ("unet_reconstruction", 120)):
        (model,) = facts.trained_for(task, "liver_ct")
        assert (model.name, model.shots, model.problem) == ("liver_ct", shots, "")
        assert facts.trained_for(task, "brain_mri") == ()
    assert [config.title for config in facts.configs] == ["Brain MRI", "Liver CT"]
    assert facts.configs[0].positive == ("Glioma",)
    assert facts.backbones == ("embedded", "biomedclip")
    assert client.studies() == ("a", "b")
    client.ready()


def test_an_older_server_that_trains_nothing_is_understood(server, client):
    ours = {key: value for key, value in INFO["anomalabel"].items() if key != "trained"}
    server.answer_json("/info/", {**INFO, "models": {"clap_attention": {}}, "anomalabel": ours})
    facts = client.info()
    assert (facts.tasks, facts.trained) == (("clap_attention",), ())
    assert not facts.task("clap_attention").learns


def test_the_models_of_an_older_server_do_not_tell_their_task(server, client):
    (entry, _other) = INFO["anomalabel"]["trained"]
    untold = {key: value for key, value in entry.items() if key != "task"}
    server.answer_json("/info/", {**INFO, "anomalabel": {**INFO["anomalabel"], "trained": [untold]}})
    (model,) = client.info().trained_for("few_shot_localization", "liver_ct")
    assert (model.name, model.task) == ("liver_ct", "")


@pytest.mark.parametrize(
    ("task", "kinds"),
    [("few_shot_localization", ("uncertainty",)), ("unet_reconstruction", ("saliency", "reconstruction"))],
)
def test_a_trained_model_is_asked_for_and_its_maps_come_with_the_heatmap(server, client, task, kinds):
    values = np.zeros((4, 5, 6), np.float32)
    text = json.dumps(report(values, []))
    maps = {kind: nrrd_bytes(values + 1 + place, MATRIX) for place, kind in enumerate(kinds)}
    server.answer("POST", f"/infer/{task}", result_reply(text, nrrd_bytes(values, MATRIX), maps))
    asking = RunParameters(task, "liver_ct", trained="liver_ct", maps=kinds)
    received = client.infer(asking, "id-1", "a").maps
    assert {kind: view.tobytes() for kind, view in received.items()} == maps
    (asked,) = server.asked("POST")
    form = message_from_bytes(b"Content-Type: " + asked.headers["Content-Type"].encode() + b"\r\n\r\n" + asked.body)
    assert json.loads(form.get_payload()[0].get_payload()) == {
        "config": "liver_ct",
        "trained": "liver_ct",
        "compact": False,
        **dict.fromkeys(kinds, True),
    }
    server.answer("POST", "/infer/clap_attention", good_reply())
    assert client.infer(PARAMETERS, "id-1", "a").maps == {}


def test_a_study_of_the_server_is_asked_for_by_id(server, client):
    server.answer("POST", "/infer/clap_attention", good_reply())
    result = client.infer(PARAMETERS, "id-1", "scan & 1")
    assert result.report.findings[0].index_max == (2, 2, 2)
    assert result.heatmap_nrrd[:4].tobytes() == b"NRRD"
    (asked,) = server.asked("POST")
    assert parse_qs(urlsplit(asked.path).query) == {"image": ["scan & 1"], "output": ["all"], "request_id": ["id-1"]}
    form = message_from_bytes(b"Content-Type: " + asked.headers["Content-Type"].encode() + b"\r\n\r\n" + asked.body)
    (part,) = form.get_payload()
    assert json.loads(part.get_payload()) == {
        "config": "brain_mri",
        "backbone": "embedded",
        "positive": ["Glioma"],
        "compact": False,
    }


def test_a_file_is_sent_whole(server, client, tmp_path):
    server.answer("POST", "/infer/clap_attention", good_reply())
    path = tmp_path / "image.nrrd"
    path.write_bytes(bytes(range(256)) * 300)
    client.infer(PARAMETERS, "id-1", path)
    (asked,) = server.asked("POST")
    assert "image=" not in asked.path
    assert b'name="file"; filename="image.nrrd"' in asked.body
    assert path.read_bytes() in asked.body


def test_nothing_listens():
    with small_server() as served:
        url = served.url
    with pytest.raises(ServerUnreachableError, match="cannot be reached") as caught:
        Client(url, QUICK).info()
    assert "runs" in caught.value.remedy


def test_a_silent_server_ends_in_time(server, client):
    released = threading.Event()
    server.answer("GET", "/info/", Reply(wait=lambda: released.wait(5)))
    with pytest.raises(ServerTimeoutError, match=r"for 0\.2 s"):
        client.info()
    released.set()


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply(b'{"detail": "The prompt is empty. Write one."}', 422), RequestRefusedError, "prompt is empty"),
        (Reply(b'{"detail": "Loading embedded"}', 503), ServerNotReadyError, "Loading embedded"),
        (Reply(b"<html>busy</html>", 503), ServerNotReadyError, "model is loading"),
        (Reply(b'{"detail": "cancelled"}', 409), RunCancelledError, "cancelled"),
        (Reply(b"Internal Server Error", 500), ReplyError, "HTTP 500"),
        (Reply(b"", 302, headers={"Location": "http://127.0.0.1:1/"}), ReplyError, "HTTP 302"),
        (Reply(b'{"detail": [{"loc": ["x"]}]}', 422), ReplyError, "HTTP 422"),
        (Reply(b"<html>hello</html>", content_type="text/html"), ReplyError, "text/html"),
        (Reply(b"x" * (2 << 20)), ReplyError, "larger"),
    ],
)
def test_refusals_are_typed_and_name_the_cause(server, client, reply, kind, message):
    server.answer("POST", "/infer/clap_attention", reply)
    with pytest.raises(kind, match=message) as caught:
        client.infer(PARAMETERS, "id-1", "a")
    assert caught.value.remedy


@pytest.mark.parametrize("part", [b'name="params"', b'name="image"'])
def test_a_reply_without_one_of_its_parts(server, client, part):
    reply = good_reply()
    body = reply.body.replace(part, b'name="other"')
    server.answer("POST", "/infer/clap_attention", Reply(body, content_type=reply.content_type))
    with pytest.raises(ReplyError, match="no part"):
        client.infer(PARAMETERS, "id-1", "a")


def test_half_an_answer(server, client):
    reply = good_reply()
    cut = Reply(reply.body[:-80], content_type=reply.content_type, stated_length=len(reply.body))
    server.answer("POST", "/infer/clap_attention", cut)
    with pytest.raises(PanelError, match="connection broke"):
        client.infer(PARAMETERS, "id-1", "a")


@pytest.mark.parametrize("body", [b"<html></html>", b"[]", b'{"models": []}', b'{"models": {}}', b"\xff\xfe"])
def test_another_program_at_the_address(server, client, body):
    server.answer("GET", "/info/", Reply(body))
    with pytest.raises(ReplyError, match="not an AnomaLabel server"):
        client.info()


def test_a_proxy_of_the_environment_is_not_used(client, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert client.info().version == "0.1.0"


def test_a_downloaded_study_brings_a_name_without_folders(server, client):
    name = {"Content-Disposition": 'attachment; filename="../../etc/scan.nii.gz"'}
    server.answer("GET", "/datastore/image", Reply(b"voxels", headers=name))
    file = client.download_study("scan")
    assert (file.study, file.filename, file.content) == ("scan", "scan.nii.gz", b"voxels")


def test_progress_and_cancel(server, client):
    server.answer_json("/progress/id-1", {"done": 3, "total": 12})
    server.answer_json("/progress/id-1", {}, method="DELETE")
    assert client.progress("id-1") == (3, 12)
    client.cancel("id-1")
    assert [each.path for each in server.asked("DELETE")] == ["/progress/id-1"]


@pytest.mark.parametrize(
    "address", ["", "ftp://host", "http://", "http://host:port", "http://a b", "http://user:word@host", "http://h?x=1"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(AddressError) as caught:
        Client(address)
    assert "http://127.0.0.1:8000" in caught.value.remedy


@pytest.mark.parametrize(
    ("typed", "address"),
    [("127.0.0.1:8000", "http://127.0.0.1:8000"), (" https://gpu.hospital/label/ ", "https://gpu.hospital/label")],
)
def test_addresses_as_people_type_them(typed, address):
    assert Client(typed).address == address
