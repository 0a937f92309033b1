"""The queue is emptied into a server that keeps, refuses, forgets to answer, and is exchanged for another."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from AnomaLabelLib.errors import (
    LoginError,
    PanelError,
    ReplyError,
    ServerFailedError,
    ServerTimeoutError,
    ServerUnreachableError,
    VersionError,
)
from AnomaLabelLib.server.client import Client, Limits
from AnomaLabelLib.server.jobs import JobContext, Progress
from AnomaLabelLib.server.outbox import SendWork, Sent
from hypothesis import given, settings
from hypothesis import strategies as st
from small_server import INFO, Reply, Request, SmallServer, small_server

QUICK = Limits(connect_s=1, answer_s=0.5, result_s=0.5)
MASK = b"NRRD0004 a mask"
NEW_INFO = {**INFO, "anomalabel": {**INFO["anomalabel"], "api": 1}}


@dataclass(frozen=True)
class Act:
    """A reviewer's act as the journal gives it."""

    event_id: str
    image: str
    reviewer: str = "anna"

    def to_body(self) -> dict[str, object]:
        return {"event_id": self.event_id, "reviewer": self.reviewer, "action": "case_normal"}


@dataclass(frozen=True)
class Entry:
    """A line of the journal."""

    event: Act
    mask: bytes | None = None


@dataclass
class MemoryJournal:
    """A journal without a disk; knows one server."""

    server: str
    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def pending(self, server: str) -> tuple[Entry, ...]:
        return tuple(self.entries) if server == self.server else ()

    def acknowledge(self, event_id: str) -> None:
        self._take(event_id)

    def refuse(self, event_id: str, reason: str) -> None:
        self._take(event_id)
        self.refused.append((event_id, reason))

    def _take(self, event_id: str) -> None:
        (entry,) = (each for each in self.entries if each.event.event_id == event_id)
        self.entries.remove(entry)


@dataclass
class KeepingServer:
    """Keeps each event once, as the real one does, and fails as a test tells it to.

    Args:
        failures: what it answers next in place of its own answer; None for its own.
        deaf: whether a failing answer comes before the event is kept.
    """

    failures: list[Reply | None] = field(default_factory=list)
    deaf: bool = False
    events: list[dict] = field(default_factory=list)
    masks: dict[str, bytes] = field(default_factory=dict)

    def take_event(self, request: Request) -> Reply:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None and self.deaf:
            return failure
        body = json.loads(request.body)
        if body["event_id"] not in {kept["event_id"] for kept in self.events}:
            self.events.append({**body, "image": unquote(request.path.rsplit("/", 1)[-1])})
        return failure or Reply(json.dumps({**body, "utc": "2025-03-04T05:06:07Z"}).encode())

    def take_mask(self, request: Request) -> Reply:
        digest = request.path.rsplit("/", 1)[-1]
        self.masks[digest] = request.body
        return Reply(json.dumps({"sha256": digest}).encode())


@pytest.fixture(scope="module")
def one_server() -> Iterator[SmallServer]:
    with small_server() as served:
        yield served


@pytest.fixture
def server(one_server) -> SmallServer:
    return emptied(one_server)


@pytest.fixture
def keeping(server) -> KeepingServer:
    return installed(server)


@pytest.fixture
def journal(server) -> MemoryJournal:
    return MemoryJournal(server.url)


def emptied(server: SmallServer) -> SmallServer:
    server.replies.clear()
    server.requests.clear()
    return server


def installed(server: SmallServer) -> KeepingServer:
    keeping = KeepingServer()
    server.answer("POST", "*", keeping.take_event)
    server.answer("PUT", "*", keeping.take_mask)
    server.answer_json("/info/", NEW_INFO)
    return keeping


def acts(count: int, reviewer: str = "anna", image: str = "") -> list[Entry]:
    """One act on each of several images, or all on one."""
    return [Entry(Act(str(uuid.uuid4()), image or f"case {number}", reviewer)) for number in range(count)]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event.event_id for entry in entries]


def kept(keeping: KeepingServer) -> list[str]:
    return [event["event_id"] for event in keeping.events]


def send(server: SmallServer, journal: MemoryJournal, context: JobContext | None = None) -> Sent:
    return SendWork(Client(server.url, QUICK), journal)(context or JobContext(queue.Queue()))


def words(text: str, status: int) -> Reply:
    return Reply(json.dumps({"detail": text}).encode(), status)


def test_all_acts_arrive_in_their_order(server, keeping, journal):
    journal.entries = acts(3)
    sent = ids(journal.entries)
    told: queue.Queue = queue.Queue()
    assert send(server, journal, JobContext(told)) == Sent(3, 0, 0)
    assert kept(keeping) == sent
    assert [event["image"] for event in keeping.events] == ["case 0", "case 1", "case 2"]
    assert journal.entries == []
    assert [told.get_nowait() for _ in range(3)] == [Progress(done, 3) for done in range(3)]


def test_nothing_is_asked_where_nothing_waits(server, keeping, journal):
    assert send(server, journal) == Sent(0, 0, 0)
    journal.entries = acts(1)
    journal.server = "http://another:8000"
    assert send(server, journal) == Sent(0, 0, 0)
    assert server.requests == []


def test_a_mask_arrives_before_the_act_that_names_it(server, keeping, journal):
    before, segmented = acts(2)
    journal.entries = [before, Entry(segmented.event, MASK)]
    assert send(server, journal) == Sent(2, 0, 0)
    digest = hashlib.sha256(MASK).hexdigest()
    assert [each.method for each in server.requests] == ["POST", "PUT", "POST"]
    assert server.requests[1].path == f"/reviews/case%201/masks/{digest}"
    assert MASK in keeping.masks[digest]


@pytest.mark.parametrize(
    ("failure", "kind", "cause"),
    [
        (Reply(hang_up=True), ServerUnreachableError, "broke the connection before it answered"),
        (Reply(b'{"event_i', stated_length=400), ServerFailedError, "broke in the middle of the answer"),
        (words("The server failed; its log says why.", 500), ServerFailedError, "HTTP 500"),
        (Reply(b"<html>", 502), ServerFailedError, "A proxy in front of the server"),
        (Reply(b"<html>log in to the network</html>"), ReplyError, "it sent no JSON"),
        (Reply(b'{"status": "ok"}'), ReplyError, "event.event_id is missing"),
        (words("Not Found", 404), VersionError, "older than this extension"),
        (Reply(b"", 302, headers={"Location": "http://other/"}), ReplyError, "sends on to another address"),
    ],
)
@pytest.mark.parametrize("deaf", [True, False])
def test_an_act_waits_until_the_server_says_that_it_holds_it(server, keeping, journal, failure, kind, cause, deaf):
    journal.entries = acts(4, image="case")
    sent = ids(journal.entries)
    keeping.failures, keeping.deaf = [None, failure], deaf
    with pytest.raises(kind, match=cause) as caught:
        send(server, journal)
    assert caught.value.remedy
    assert ids(journal.entries) == sent[1:]
    assert journal.refused == []
    assert kept(keeping) == (sent[:1] if deaf else sent[:2])
    assert send(server, journal) == Sent(3, 0, 0)
    assert kept(keeping) == sent


def test_a_server_that_keeps_an_act_and_says_nothing(server, keeping, journal):
    journal.entries = acts(2)
    sent = ids(journal.entries)
    slow = SendWork(Client(server.url, Limits(answer_s=0.05)), journal)
    released = threading.Event()
    keeping.failures = [Reply(wait=lambda: released.wait(5))]
    with pytest.raises(ServerTimeoutError):
        slow(JobContext(queue.Queue()))
    released.set()
    assert ids(journal.entries) == sent
    assert send(server, journal) == Sent(2, 0, 0)
    assert kept(keeping) == sent


@given(st.lists(st.sampled_from(["keep", "lose answer", "lose request", "fail"]), max_size=12), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_each_act_arrives_once_whatever_breaks(one_server, weather, count):
    server = emptied(one_server)
    keeping, journal = installed(server), MemoryJournal(server.url, acts(count, image="case"))
    sent = ids(journal.entries)
    replies = {"lose answer": Reply(hang_up=True), "lose request": Reply(hang_up=True), "fail": Reply(b"", 500)}
    for each in weather:
        keeping.failures = [] if each == "keep" else [replies[each]]
        keeping.deaf = each != "lose answer"
        with pytest.raises(PanelError) if keeping.failures and journal.entries else nullcontext():
            send(server, journal)
    keeping.failures = []
    send(server, journal)
    assert kept(keeping) == sent
    assert journal.entries == []


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_what_the_server_will_never_take_is_set_aside_with_its_words(server, keeping, journal, status):
    journal.entries = acts(3)
    first, second, third = ids(journal.entries)
    keeping.failures, keeping.deaf = [None, words("There is no image 'case 1'.", status)], True
    assert send(server, journal) == Sent(2, 1, 0)
    assert kept(keeping) == [first, third]
    assert journal.refused == [(second, "There is no image 'case 1'.")]


def test_an_act_goes_nowhere_without_its_mask(server, keeping, journal):
    journal.entries = [Entry(entry.event, MASK) for entry in acts(1)]
    server.answer("PUT", "*", words("The mask is on another grid than the image.", 422))
    assert send(server, journal) == Sent(0, 1, 0)
    assert keeping.events == []
    assert journal.refused[0][1].startswith("The mask is on another grid")


def test_a_refusal_by_a_server_of_another_version_proves_nothing(server, keeping, journal):
    journal.entries = acts(2)
    server.answer_json("/info/", INFO)
    keeping.failures, keeping.deaf = [words("The request is not valid: acted_utc.", 422)], True
    with pytest.raises(VersionError, match="does not take reviews from this extension"):
        send(server, journal)
    assert len(journal.entries) == 2
    assert journal.refused == []


@pytest.mark.parametrize("status", [401, 403])
def test_acts_wait_for_the_right_login(server, keeping, journal, status):
    journal.entries = acts(3)
    keeping.failures, keeping.deaf = [None, words("The token is bob's.", status)], True
    with pytest.raises(LoginError) as caught:
        send(server, journal)
    assert "Settings" in caught.value.remedy
    assert len(journal.entries) == 2
    assert journal.refused == []
    assert len(server.requests) == 2


def test_acts_of_a_reader_who_went_home_hold_nobody_up(server, keeping, journal):
    annas, bobs = acts(2, "anna"), acts(2, "bob")
    journal.entries = [bobs[0], annas[0], bobs[1], annas[1]]
    keeping.failures, keeping.deaf = [words("The token is anna's and the event says bob.", 403)], True
    with pytest.raises(LoginError, match="the event says bob"):
        send(server, journal)
    assert kept(keeping) == ids(annas)
    assert journal.entries == bobs


def test_an_image_whose_record_is_damaged_holds_no_other_up(server, keeping, journal):
    bad, good = acts(2, image="damaged"), acts(2, image="fine")
    journal.entries = [bad[0], good[0], bad[1], good[1]]
    keeping.failures, keeping.deaf = [words("damaged.jsonl, line 2: it does not follow.", 500)], True
    with pytest.raises(ServerFailedError, match="line 2"):
        send(server, journal)
    assert kept(keeping) == ids(good)
    assert journal.entries == bad
    assert send(server, journal) == Sent(2, 0, 0)


def test_a_server_that_fails_over_everything_is_left_alone(server, keeping, journal):
    journal.entries = acts(10)
    keeping.failures, keeping.deaf = [words("No room.", 507)] * 10, True
    with pytest.raises(ServerFailedError, match="No room"):
        send(server, journal)
    assert len(server.asked("POST")) == 3
    assert len(journal.entries) == 10


def test_cancelling_leaves_the_rest_in_the_queue(server, keeping, journal):
    journal.entries = acts(3)
    context = JobContext(queue.Queue())
    take = keeping.take_event

    def take_and_cancel(request: Request) -> Reply:
        context.cancelled.set()
        return take(request)

    server.answer("POST", "*", take_and_cancel)
    assert send(server, journal, context) == Sent(1, 0, 2)
    assert len(journal.entries) == 2
