"""The multipart reader against honest, careless and hostile bodies."""

from __future__ import annotations

import pytest
from AnomaLabelLib.errors import ReplyError
from AnomaLabelLib.server.multipart import MAXIMUM_PARTS, parse_multipart
from hypothesis import given
from hypothesis import strategies as st
from requests.models import RequestEncodingMixin

TYPE = "multipart/form-data; boundary=xyz"
PART = b'--xyz\r\nContent-Disposition: form-data; name="params"\r\n\r\n{}\r\n'


@given(st.binary(max_size=400), st.binary(max_size=400), st.text(min_size=1, max_size=12, alphabet="abcXYZ._-09"))
def test_what_an_independent_writer_wrote_comes_back(first, second, filename):
    body, content_type = RequestEncodingMixin._encode_files(
        {"params": (None, first), "image": (filename, second, "application/octet-stream")}, {}
    )
    parts = parse_multipart(content_type, body)
    assert list(parts) == ["params", "image"]
    assert parts["params"].content.tobytes() == first
    assert parts["image"].content.tobytes() == second
    assert (parts["params"].filename, parts["image"].filename) == ("", filename)


def test_content_that_looks_like_a_boundary_is_content():
    content = b"--xyz--\r\n--xy\r\n\r\n--xyZ\r\n"
    body = b'--xyz\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + content + b"\r\n--xyz--\r\n"
    assert parse_multipart(TYPE, body)["image"].content.tobytes() == content


def test_an_empty_part_and_a_quoted_boundary():
    body = b'--a b\r\nContent-Disposition: form-data; name="image"; filename="../../x"\r\n\r\n\r\n--a b--'
    part = parse_multipart('multipart/form-data; boundary="a b"', body)["image"]
    assert part.content.tobytes() == b""
    assert part.filename == "../../x"


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("text/html", b"<html></html>", "expected multipart"),
        ("", b"", "expected multipart"),
        ("multipart/form-data", PART + b"--xyz--", "expected multipart"),
        ("multipart/form-data; boundary=" + "x" * 71, b"", "boundary"),
        (TYPE, b"", "start"),
        (TYPE, b"preamble\r\n" + PART + b"--xyz--", "start"),
        (TYPE, PART, "middle"),
        (TYPE, PART[:-8], "no header"),
        (TYPE, b"--xyz", "line end"),
        (TYPE, b"--xyz\r\n", "middle"),
        (TYPE, b"--xyzzy\r\n", "line end"),
        (TYPE, PART + PART + b"--xyz--", "two parts"),
        (TYPE, b"--xyz\r\nContent-Disposition: form-data\r\n\r\n1\r\n--xyz--", "no name"),
        (TYPE, b'--xyz\r\nContent-Disposition: form-data; name=""\r\n\r\n1\r\n--xyz--', "no name"),
        (TYPE, b"--xyz\r\n\r\n1\r\n--xyz--", "header|name"),
        (TYPE, b"--xyz\r\nX: " + b"a" * 9000 + b"\r\n\r\n1\r\n--xyz--", "header"),
        (TYPE, b'--xyz\r\nContent-Disposition: form-data; name="a"\rX: 1\r\n\r\n1\r\n--xyz--', "stray"),
        (TYPE, b"--xyz\r\nno colon here\r\n\r\n1\r\n--xyz--", "no name"),
    ],
)
def test_damaged_bodies_are_named(content_type, body, message):
    with pytest.raises(ReplyError, match=message):
        parse_multipart(content_type, body)


def test_more_parts_than_any_server_of_ours_sends():
    parts = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="p%d"\r\n\r\n1\r\n' % n for n in range(MAXIMUM_PARTS + 1)
    )
    with pytest.raises(ReplyError, match="more than"):
        parse_multipart(TYPE, parts + b"--xyz--")


@given(st.binary(max_size=300))
def test_no_body_does_more_than_be_refused(garbage):
    for body in (garbage, b"--xyz\r\n" + garbage, PART + b"--xyz\r\n" + garbage + b"\r\n--xyz--\r\n"):
        try:
            parts = parse_multipart(TYPE, body)
        except ReplyError:
            continue
        assert parts


@given(st.text(max_size=80))
def test_no_other_content_type_is_taken_for_ours(content_type):
    with pytest.raises(ReplyError):
        parse_multipart(content_type, PART + b"--xyz--")
