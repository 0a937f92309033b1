"""Where the reader was."""

from __future__ import annotations

import json

import pytest
from AnomaLabelLib.errors import JournalError
from AnomaLabelLib.review.session import SESSION_NAME, SavedSession, load, save

SESSION = SavedSession(
    address="http://127.0.0.1:8000",
    reviewer="Ännä",
    image="head-7",
    finding_id="a",
    order="most_uncertain",
    filter_text="head",
    filter_state="not_reviewed",
    question='{"task": "few_shot_localization"}',
    threshold="0.25",
)


def test_it_comes_back_and_the_last_one_counts(tmp_path):
    assert load(tmp_path) is None
    save(SavedSession(), tmp_path / "new")
    save(SESSION, tmp_path / "new")
    assert load(tmp_path / "new") == SESSION
    assert [path.name for path in (tmp_path / "new").iterdir()] == [SESSION_NAME]


def test_cut_off_anywhere_it_is_as_if_there_were_none(tmp_path):
    save(SESSION, tmp_path)
    path = tmp_path / SESSION_NAME
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert load(tmp_path) is None


@pytest.mark.parametrize("content", [b"null", b"[]", b'{"image": 7}', b'{"threshold": 1}', b"\xff", b"[" * 100_000])
def test_something_else_is_no_session(tmp_path, content):
    (tmp_path / SESSION_NAME).write_bytes(content)
    assert load(tmp_path) is None


def test_one_of_another_version_keeps_what_is_known(tmp_path):
    (tmp_path / SESSION_NAME).write_text(json.dumps({"image": "head-7", "zoom": 3}))
    assert load(tmp_path) == SavedSession(image="head-7")


def test_a_folder_that_cannot_be_written_is_named_and_the_session_before_stays(tmp_path, monkeypatch):
    save(SESSION, tmp_path)

    def fail(*_arguments, **_values):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", fail)
        with pytest.raises(JournalError, match="full"):
            save(SavedSession(), tmp_path)
    assert load(tmp_path) == SESSION
