"""Names from a client never leave their folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.errors import ConfigError
from monailabel_app.safety.names import checked_name, header_filename, is_plain_name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "C:x",
        "a\x00",
        "a\nb",
        ".hidden",
        "x" * 201,
        "字" * 77,
        "labels",
    ],
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="image id"):
        checked_name(name, "image id")


@pytest.mark.parametrize("name", ["head", "patient 19 T1", "1.2.840.113619.2", "Müller_01", "a..b", "字" * 76])
def test_usual_names_pass(name: str) -> None:
    assert checked_name(name, "image id") == name


@given(st.text(max_size=30))
def test_what_passes_stays_a_direct_child_of_its_folder(name: str) -> None:
    try:
        accepted = checked_name(name, "image id")
    except ConfigError:
        return
    assert (Path("/studies") / accepted).resolve().parent == Path("/studies")


@given(st.text())
def test_header_file_names_cannot_break_out_of_their_quotes(name: str) -> None:
    assert header_filename(name, ".nrrd").isascii()
    assert not set('"\\;\r\n/') & set(header_filename(name, ".nrrd"))


def test_a_plain_name_is_text_that_passes() -> None:
    names = ["head", "a:b", "labels", "a\udcff", "x" * 201, ""]
    assert [is_plain_name(name) for name in names] == [True, False, False, False, False, False]
