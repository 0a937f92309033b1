"""Review events are kept whole, in a chain that shows any change, and a crash costs nothing that was told."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anomalabel.errors import ConfigError, OutputError
from monailabel_app.reviews.chain import ReviewsDamaged, ReviewsUnreadable, parse_chain
from monailabel_app.reviews.event import Review, ReviewEvent, event_of
from monailabel_app.reviews.store import MAXIMUM_LINE_BYTES, ReviewStore

BOX = {"index_min": [1, 2, 3], "index_max": [4, 5, 6], "score": 0.25}


def accepted(**changes: object) -> Review:
    return Review(**{"reviewer": "A", "action": "accepted", "finding_id": "f1", **changes})


def case(verdict: str) -> Review:
    return Review(reviewer="A", action=f"case_{verdict}")


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "head.jsonl"


def test_each_line_holds_the_hash_of_the_line_before(store: ReviewStore, file: Path) -> None:
    model = {"name": "embedded", "weights_sha256": "3" * 64}
    texts = {"positive": ["tumor"], "negative": ["healthy"]}
    store.add("head", accepted(before=BOX, findings_sha256="4" * 64, model=model, prompts=texts, client="Slicer 5.10"))
    store.add("head", accepted(action="edited", before=BOX, after={**BOX, "index_min": [0, 0, 0]}))
    store.add("head", case("abnormal"))
    lines = file.read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["previous_sha256"] for row in rows] == [None, *(hashlib.sha256(line).hexdigest() for line in lines[:2])]
    assert set(rows[0]) == {
        *("event_id", "utc", "reviewer", "image", "finding_id", "action", "before", "after"),
        *("reason", "undoes", "acted_utc", "findings_sha256", "model", "prompts", "client", "previous_sha256"),
    }
    assert rows[0]["before"] == BOX
    assert (rows[0]["model"], rows[0]["prompts"], rows[0]["client"]) == (model, texts, "Slicer 5.10")
    assert rows[1]["after"]["index_min"] == [0, 0, 0]
    assert {row["image"] for row in rows} == {"head"}
    assert rows[0]["utc"].endswith("Z")
    assert [event.action for event in store.chain("head").events] == ["accepted", "edited", "case_abnormal"]


def test_a_file_from_before_events_had_reasons_and_times_still_reads(store: ReviewStore, file: Path) -> None:
    row = {
        "event_id": "0b5d5f0e-4c35-4c8f-9d5f-0d8f6a6f2b11",
        "reviewer": "A",
        "action": "accepted",
        "finding_id": "f1",
        "before": BOX,
        "after": None,
        "findings_sha256": None,
        "model": None,
        "prompts": None,
        "client": "",
        "utc": "2025-11-03T09:00:00Z",
        "image": "head",
        "previous_sha256": None,
    }
    first = json.dumps(row).encode()
    verdict = {
        **row,
        "event_id": "0b5d5f0e-4c35-4c8f-9d5f-0d8f6a6f2b12",
        "action": "case_abnormal",
        "finding_id": None,
        "before": None,
        "previous_sha256": hashlib.sha256(first).hexdigest(),
    }
    file.parent.mkdir()
    file.write_bytes(first + b"\n" + json.dumps(verdict).encode() + b"\n")
    store.add("head", accepted(action="rejected", reason="artefact", acted_utc="2026-01-02T03:04:05+01:00"))
    events = store.chain("head").events
    assert [event.action for event in events] == ["accepted", "case_abnormal", "rejected"]
    assert [event.reason for event in events] == [None, None, "artefact"]
    assert events[0].happened_utc == events[0].utc
    assert events[2].happened_utc.isoformat() == "2026-01-02T03:04:05+01:00"
    assert store.chain("head").verdict == "abnormal"


def test_the_last_case_event_decides_and_findings_do_not(store: ReviewStore) -> None:
    for image, reviews in {
        "a": [case("normal")],
        "b": [case("normal"), case("abnormal"), accepted()],
        "c": [case("abnormal"), accepted(action="rejected"), case("normal"), accepted(action="reopened")],
        "d": [accepted()],
        "1.2.840.113": [case("normal")],
    }.items():
        for review in reviews:
            store.add(image, review)
    assert store.case_verdicts() == {"a": "normal", "b": "abnormal", "c": "normal", "1.2.840.113": "normal"}


def test_what_waits_for_a_second_reading_is_learned_from_neither_way(store: ReviewStore) -> None:
    def said(reviewer: str, action: str) -> Review:
        return Review(reviewer=reviewer, action=action)

    for image, reviews in {
        "waits": [said("A", "case_normal"), said("A", "second_reader")],
        "confirmed": [said("A", "case_normal"), said("A", "second_reader"), said("B", "case_normal")],
        "disputed": [said("A", "case_abnormal"), said("B", "case_normal")],
        "reopened": [said("A", "case_abnormal"), said("B", "case_reopened")],
        "ill": [said("A", "case_abnormal")],
    }.items():
        for review in reviews:
            store.add(image, review)
    assert store.case_verdicts() == {"confirmed": "normal", "ill": "abnormal"}
    assert store.doubtful_as_healthy() == {"waits", "disputed", "ill"}


def test_nothing_reviewed_is_no_error(store: ReviewStore, tmp_path: Path) -> None:
    assert store.case_verdicts() == {}
    assert store.chain("head").events == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"action": "accepted"}, "finding_id"),
        ({"action": "case_normal", "finding_id": "f1"}, "finding_id"),
        ({"action": "case_normal", "after": BOX}, "state"),
        ({"action": "edited", "finding_id": "f1", "after": BOX}, "before"),
        ({"action": "added", "finding_id": "f1"}, "after"),
        ({"action": "added", "finding_id": "f1", "before": BOX, "after": BOX}, "none before"),
        ({"action": "liked", "finding_id": "f1"}, "action"),
        ({"action": "accepted", "finding_id": "f1", "before": {"score": float("nan")}}, "finite"),
        ({"action": "accepted", "finding_id": "f1", "findings_sha256": "x"}, "findings_sha256"),
        ({"action": "case_normal", "reviewer": ""}, "reviewer"),
        ({"action": "case_normal", "utc": "2020-01-01"}, "utc"),
        ({"action": "case_reopened", "finding_id": "f1"}, "finding_id"),
        ({"action": "second_reader", "before": BOX}, "state"),
        ({"action": "read_normal", "after": BOX}, "state"),
        ({"action": "withdrawn", "finding_id": "f1", "after": BOX}, "leave after out"),
        ({"action": "accepted", "finding_id": "f1", "reason": "artefact"}, "only rejected"),
        ({"action": "rejected", "finding_id": "f1", "reason": "x" * 201}, "reason"),
        ({"action": "accepted", "finding_id": "f1", "acted_utc": "2026-01-02T03:04:05"}, "timezone"),
        ({"action": "accepted", "finding_id": "f1", "undoes": "last"}, "undoes"),
        ({"action": "segmented"}, "mask_sha256"),
        ({"action": "segmented", "after": {"mask_sha256": "abc"}}, "mask_sha256"),
        ({"action": "segmented", "after": {"mask_sha256": "a" * 64, "voxels": 3}}, "voxels: unknown key"),
        ({"action": "segmented", "before": BOX, "after": {"mask_sha256": "a" * 64}}, "no state before"),
    ],
)
def test_reviews_that_mean_nothing_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Review(**{"reviewer": "A", **values})


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_last_line_that_a_crash_cut_off_is_told_ignored_and_set_aside(
    store: ReviewStore, file: Path, cut: int
) -> None:
    store.add("head", case("normal"))
    whole = file.read_bytes()
    store.add("head", case("abnormal"))
    torn = file.read_bytes()[len(whole) :][:cut]
    file.write_bytes(whole + torn)
    chain = store.chain("head")
    assert (chain.torn, len(chain.events), chain.verdict) == (torn, 1, "normal")
    store.add("head", accepted())
    again = store.chain("head")
    assert (again.torn, [event.action for event in again.events]) == (b"", ["case_normal", "accepted"])
    assert file.read_bytes().startswith(whole)
    assert (file.parent / "head.jsonl.torn-1").read_bytes() == torn


def changed_reviewer(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"A"', b'"B"'), *lines[1:]]


def with_foreign_image(lines: list[bytes]) -> list[bytes]:
    foreign = event_of(case("normal"), "other", hashlib.sha256(lines[-1]).hexdigest())
    return [*lines, foreign.to_line().rstrip(b"\n")]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (changed_reviewer, 2),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:2], b"{}"], 3),
        (lambda lines: [lines[0], b"\xff\x00", lines[2]], 2),
        (lambda lines: [lines[0], b"", *lines[1:]], 2),
        (with_foreign_image, 4),
    ],
    ids=["edited", "line gone", "swapped", "first gone", "no event", "bytes", "empty line", "other image"],
)
def test_a_broken_chain_names_file_and_line(store: ReviewStore, file: Path, change: object, line: int) -> None:
    for review in (accepted(), case("normal"), case("abnormal")):
        store.add("head", review)
    content = b"\n".join(change(file.read_bytes().splitlines())) + b"\n"
    file.write_bytes(content)
    reads = (lambda: store.chain("head"), store.case_verdicts, store.doubtful_as_healthy)
    for read in (*reads, lambda: store.add("head", accepted())):
        with pytest.raises(ReviewsDamaged, match=rf"head\.jsonl, line {line}: "):
            read()
    assert file.read_bytes() == content


def test_a_retried_event_is_kept_once_and_its_id_is_never_reused(store: ReviewStore, file: Path) -> None:
    review = accepted(before=BOX)
    first = store.add("head", review)
    assert store.add("head", review) == first
    assert len(file.read_bytes().splitlines()) == 1
    with pytest.raises(ConfigError, match=str(review.event_id)):
        store.add("head", review.model_copy(update={"reviewer": "B"}))


def test_many_threads_write_one_chain(store: ReviewStore) -> None:
    def write(number: int) -> None:
        for _ in range(5):
            ReviewStore(store._folder).add("head", accepted(reviewer=f"R{number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.chain("head").events) == 20


def test_a_full_disk_leaves_the_file_as_it_was(store: ReviewStore, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("head", case("normal"))
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as crash:
        crash.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            store.add("head", case("abnormal"))
    assert file.read_bytes() == before
    assert store.chain("head").verdict == "normal"


def test_an_event_is_synced_before_it_is_told(store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", remember)
    store.add("head", case("normal"))
    folders = (store._folder, *store._folder.parents[:2])
    assert synced == [str(store._folder / "head.jsonl"), *(str(folder) for folder in folders)]


def test_a_retried_event_is_synced_too_since_its_first_try_may_not_have_come_so_far(
    store: ReviewStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = case("normal")
    store.add("head", event)
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda found: synced.append(str(Path(f"/proc/self/fd/{found}").readlink())))
    store.add("head", event)
    assert synced == [str(file)]


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, nested(250)])
def test_what_json_cannot_keep_is_refused_and_damages_no_chain(store: ReviewStore, file: Path, value: object) -> None:
    store.add("head", case("normal"))
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="cannot keep"):
        store.add("head", accepted(before={"value": value}))
    assert file.read_bytes() == before


def test_what_json_just_keeps_is_kept(store: ReviewStore) -> None:
    state = {"deep": nested(100), "numbers": [-0.0, 5e-324, 1.7976931348623157e308, 2**70], "text": "\x00\u2028"}
    event = accepted(before=state)
    assert store.add("head", event) == store.add("head", event) == store.chain("head").events[0]
    assert store.chain("head").events[0].before == state


def test_hidden_files_of_other_systems_are_no_chains(store: ReviewStore) -> None:
    store.add("head", case("normal"))
    (store._folder / "._head.jsonl").write_bytes(b"\x00\x05\x16\x07")
    assert set(store.files()) == {"head"}
    assert store.case_verdicts() == {"head": "normal"}


def test_a_file_that_cannot_be_read_is_not_the_events_fault(store: ReviewStore, file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(ReviewsUnreadable, match=r"reviews/head\.jsonl cannot be read: Is a directory"):
        store.add("head", case("normal"))


@pytest.mark.parametrize("name", ["../head", "/etc/passwd", "..", "a/b", ""])
def test_names_that_leave_the_folder_are_refused(store: ReviewStore, name: str) -> None:
    with pytest.raises(ConfigError, match="image id"):
        store.add(name, case("normal"))
    with pytest.raises(ConfigError, match="image id"):
        store.chain(name)


def test_an_event_of_any_length_is_not_kept(store: ReviewStore) -> None:
    with pytest.raises(ConfigError, match="bytes long"):
        store.add("head", accepted(before={"mask": "x" * MAXIMUM_LINE_BYTES}))
    assert store.chain("head").events == ()


finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=50), st.dictionaries(st.text(), json_values, max_size=3))
def test_any_text_and_state_come_back(reviewer: str, state: dict[str, object]) -> None:
    try:
        event = event_of(accepted(reviewer=reviewer, before=state), "head", None)
        line = event.to_line()
    except (ValidationError, UnicodeEncodeError):
        return
    assert line.count(b"\n") == 1
    (read,) = parse_chain(line, "head", Path("head.jsonl")).events
    assert read == event == ReviewEvent.model_validate_json(line)
