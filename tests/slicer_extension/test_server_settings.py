"""Settings through stores that give texts back, and the waits between two attempts."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace

import pytest
from AnomaLabelLib.errors import AddressError
from AnomaLabelLib.server.backoff import next_delay
from AnomaLabelLib.server.settings import PanelSettings, from_store, to_store, token_warning
from AnomaLabelLib.server.transport import Limits
from hypothesis import given
from hypothesis import strategies as st

PANEL = "0b9f7c1e-5a3d-4c3e-9a43-3a4e0f6f2f11"
DEFAULT = "http://127.0.0.1:8000"


def read(values: dict[str, object]) -> PanelSettings:
    return from_store({f"AnomaLabel/{key}": value for key, value in values.items()}.get)


def test_an_empty_store_gives_the_defaults():
    settings = from_store({}.get)
    assert settings == PanelSettings(client_id=settings.client_id)
    assert (settings.address, settings.token, settings.reviewer) == (DEFAULT, "", "")
    assert settings.limits == Limits()
    assert (settings.compact, settings.reading_first, settings.run_on_open) == (False, False, True)
    assert uuid.UUID(settings.client_id).version == 4
    assert from_store({}.get).client_id != settings.client_id


texts = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), max_size=30)
everything = st.builds(
    PanelSettings,
    addresses=st.lists(st.sampled_from([f"http://host-{n}:8000" for n in range(12)]), max_size=12).map(tuple),
    token=texts,
    reviewer=texts,
    connect_s=st.floats(),
    answer_s=st.floats(),
    result_s=st.floats(),
    compact=st.booleans(),
    reading_first=st.booleans(),
    run_on_open=st.booleans(),
)


@given(everything)
def test_what_is_kept_comes_back_as_it_was_and_within_range(settings):
    store: dict[str, object] = {}
    to_store(settings, store.__setitem__)
    assert all(isinstance(value, str) for value in store.values())
    assert from_store(store.get) == settings
    assert 1 <= settings.connect_s <= 60
    assert 2 <= settings.answer_s <= 300
    assert 10 <= settings.result_s <= 7200
    assert 1 <= len(settings.addresses) == len(set(settings.addresses)) <= 8


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("compact", "true", True),
        ("compact", True, True),
        ("compact", 1, True),
        ("run_on_open", "false", False),
        ("run_on_open", "0", False),
        ("run_on_open", "perhaps", True),
        ("connect_s", "3.5", 3.5),
        ("connect_s", "0", 1.0),
        ("connect_s", "nan", 5.0),
        ("connect_s", "five", 5.0),
        ("answer_s", "1e9", 300.0),
        ("result_s", "inf", 1800.0),
        ("token", "  t0ken\n", "t0ken"),
        ("reviewer", " anna ", "anna"),
        ("reviewer", "a" * 300, "a" * 200),
        ("client_id", PANEL.upper(), PANEL),
        ("addresses", "b:1\nhttp://a:1/\nb:1", ("http://b:1", "http://a:1")),
        ("addresses", ["b:1", "a:1"], ("http://b:1", "http://a:1")),
        ("addresses", ("b:1",), ("http://b:1",)),
        ("addresses", "ftp://x", (DEFAULT,)),
        ("addresses", "", (DEFAULT,)),
        ("ServerAddress", "gpu:9000", None),
    ],
)
def test_whatever_a_store_gives_back(name, stored, expected):
    settings = read({name: stored})
    if name == "ServerAddress":
        assert settings.addresses == ("http://gpu:9000",)
    else:
        assert getattr(settings, name) == expected


def test_a_damaged_panel_id_is_made_anew():
    assert uuid.UUID(read({"client_id": "none"}).client_id)


def test_the_last_used_address_comes_first_and_eight_are_remembered():
    settings = PanelSettings(("http://a:1",))
    for number in range(9):
        settings = settings.used(f"host-{number}:1")
    settings = settings.used("host-4:1/")
    assert settings.addresses == tuple(f"http://host-{number}:1" for number in (4, 8, 7, 6, 5, 3, 2, 1))
    with pytest.raises(AddressError):
        settings.used("ftp://x")


def test_limits_come_from_the_settings():
    settings = replace(PanelSettings(), connect_s=2, answer_s=20, result_s=200)
    assert settings.limits == Limits(connect_s=2.0, answer_s=20.0, result_s=200.0)


@pytest.mark.parametrize("address", ["http://gpu.hospital:8000", "gpu", "10.0.0.5:8000", "HTTP://GPU"])
def test_a_token_on_a_plain_way_is_warned_of(address):
    assert "the token and the images can be read by anybody on the way" in token_warning(address)


@pytest.mark.parametrize("address", ["https://gpu.hospital", "localhost:8000", "127.0.0.1", "http://[::1]:8000", ""])
def test_no_warning_where_nobody_reads_along(address):
    assert token_warning(address) == ""


def test_the_waits_grow_to_a_minute():
    waits = list(itertools.islice(itertools.accumulate(itertools.repeat(0), lambda wait, _: next_delay(wait)), 9))
    assert waits == [0, 2, 4, 8, 16, 32, 60, 60, 60]
