"""What a server says of its interface, and which of server and extension is to be updated."""

from __future__ import annotations

import copy

import pytest
from AnomaLabelLib.errors import ReplyError, VersionError, retryable
from AnomaLabelLib.server.server_facts import ServerFacts, TrainerFacts, parse_info
from AnomaLabelLib.server.versions import VersionCheck, compare, require_reviewing
from small_server import INFO

NEW = {
    "api": 1,
    "login": True,
    "reviewer": "anna",
    "worklist_orders": ["first", "most_anomalous"],
    "trainers": [{"name": "few_shot_localization", "config_keys": ["config", "shots"]}],
}


def info(**changes) -> dict:
    made = copy.deepcopy(INFO)
    made["anomalabel"].update(changes)
    return made


def facts(version: str, api: int | None) -> ServerFacts:
    return ServerFacts(version, (), (), (), api=api)


def test_what_a_server_that_reviews_says():
    configs = [{**config, "rejection_reasons": ["vessel", "artefact"]} for config in INFO["anomalabel"]["configs"]]
    read = parse_info(info(**NEW, configs=configs))
    assert (read.api, read.login, read.reviewer, read.reviewing) == (1, True, "anna", True)
    assert read.worklist_orders == ("first", "most_anomalous")
    assert read.trainers == (TrainerFacts("few_shot_localization", ("config", "shots")),)
    assert read.config("liver_ct").rejection_reasons == ("vessel", "artefact")
    assert read.config("heart") is None


def test_what_an_older_server_leaves_out():
    read = parse_info(INFO)
    assert (read.api, read.login, read.reviewer, read.reviewing) == (None, False, "", False)
    assert (read.worklist_orders, read.trainers, read.configs[0].rejection_reasons) == ((), (), ())


def test_a_server_without_login_knows_no_reviewer():
    assert parse_info(info(**{**NEW, "login": False, "reviewer": None})).reviewer == ""


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"api": "1"}, "interface"),
        ({"api": True}, "interface"),
        ({"worklist_orders": [3]}, "list of texts"),
        ({"trainers": "few_shot"}, "lists is malformed"),
        ({"trainers": [{"config_keys": []}]}, "train tasks has no name"),
        ({"configs": [{**INFO["anomalabel"]["configs"][0], "rejection_reasons": [1]}]}, "list of texts"),
    ],
)
def test_malformed_facts(changes, cause):
    with pytest.raises(ReplyError, match=cause):
        parse_info(info(**{**NEW, **changes}))


@pytest.mark.parametrize("server", ["0.1.0", "0.1.7", "0.1.0.dev3"])
def test_versions_that_fit(server):
    assert compare("0.1.2", facts(server, 1)) == VersionCheck("", "", reviewing=True)


def test_a_server_before_reviewing():
    assert compare("0.2.0", facts("0.1.0", None)) == VersionCheck(
        "The server (version 0.1.0) is older than this extension (0.2.0): runs work, reviewing does not.",
        "Ask who runs the server to update AnomaLabel to 0.2.0.",
        reviewing=False,
    )


def test_a_server_that_speaks_a_later_interface():
    assert compare("0.2.0", facts("1.0.0", 2)) == VersionCheck(
        "This extension (version 0.2.0) is too old for the server (1.0.0): runs may work, reviewing does not.",
        "Update the extension in Slicer's Extensions Manager to 1.0.0.",
        reviewing=False,
    )


@pytest.mark.parametrize(
    ("extension", "server", "remedy"),
    [
        ("0.2.0", "0.1.9", "Ask who runs the server to update AnomaLabel to 0.2.0."),
        ("0.9.0", "0.10.0", "Update the extension in Slicer's Extensions Manager to 0.10.0."),
        ("1.0.0", "0.9.0", "Ask who runs the server to update AnomaLabel to 1.0.0."),
    ],
)
def test_the_older_of_two_is_to_be_updated(extension, server, remedy):
    check = compare(extension, facts(server, 1))
    assert check.cause == f"Server (version {server}) and extension ({extension}) are of different versions."
    assert (check.remedy, check.reviewing) == (remedy, True)


@pytest.mark.parametrize("server", ["", "main", "2", "99999999999.1"])
def test_a_version_that_says_nothing(server):
    check = compare("0.2.0", facts(server, 1))
    assert check.cause == f"The versions of server ({server or '?'}) and extension (0.2.0) cannot be compared."
    assert check.remedy == "If something fails, install the same version of both."
    assert check.reviewing


@pytest.mark.parametrize("api", [None, 0, 2])
def test_reviews_need_the_same_interface(api):
    with pytest.raises(VersionError, match="does not take reviews") as caught:
        require_reviewing(facts("0.1.0", api))
    assert "stays on this computer" in caught.value.remedy
    assert not retryable(caught.value)
    require_reviewing(facts("9.9.9", 1))
