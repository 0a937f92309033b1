"""Worklist, leases and the queue against the real server, also where its answers get lost on the way."""

from __future__ import annotations

import hashlib
import queue
import time
import uuid
from datetime import datetime, timedelta, timezone

import nibabel
import numpy as np
import pytest
import requests
from AnomaLabelLib.errors import CaseTakenError, RequestRefusedError, ServerUnreachableError
from AnomaLabelLib.review.event import ReviewEvent, parse_event
from AnomaLabelLib.review.journal import Journal
from AnomaLabelLib.server.client import Client
from AnomaLabelLib.server.jobs import JobContext
from AnomaLabelLib.server.outbox import SendWork, Sent
from AnomaLabelLib.server.versions import compare
from small_server import Reply, Request, small_server

IMAGE = "oblique"


@pytest.fixture
def client(running_server) -> Client:
    return Client(running_server.url)


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "journal")


def act(action: str = "second_reader", **changes) -> ReviewEvent:
    values = {
        "event_id": str(uuid.uuid4()),
        "image": IMAGE,
        "reviewer": "anna",
        "action": action,
        "acted_utc": datetime.now(timezone.utc),
        "client": "test",
    }
    return ReviewEvent(**{**values, **changes})


def send(client: Client, journal: Journal) -> Sent:
    return SendWork(client, journal)(JobContext(queue.Queue()))


def kept(client: Client) -> list[str]:
    return [event["event_id"] for event in client.reviews(IMAGE).events]


def test_the_server_offers_reviewing(client):
    facts = client.info()
    assert facts.reviewing
    assert compare(facts.version, facts).cause == ""
    assert not facts.login
    assert {trainer.name for trainer in facts.trainers} == {"few_shot_localization", "unet_reconstruction"}
    assert all(config.rejection_reasons for config in facts.configs)


def test_a_case_is_taken_kept_from_others_and_given_back(running_server, client):
    other = Client(running_server.url)
    lease = client.lease(IMAGE, "anna")
    assert (lease.reviewer, lease.mine) == ("anna", True)
    assert abs(lease.until_utc - datetime.now(timezone.utc) - timedelta(seconds=lease.seconds)).total_seconds() < 60
    with pytest.raises(CaseTakenError, match="anna has this case open until"):
        other.lease(IMAGE, "bob")
    for asking, mine in ((client, True), (other, False)):
        worklist = asking.worklist("random", 3)
        (case,) = (case for case in worklist.cases if case.image == IMAGE)
        assert (case.lease.reviewer, case.lease.mine) == ("anna", mine)
        assert worklist.order == "random"
        assert worklist.seconds_per_lease == lease.seconds
    client.release(IMAGE)
    assert other.lease(IMAGE, "bob").reviewer == "bob"
    other.release(IMAGE)


def test_every_order_that_is_offered_can_be_had(client):
    offered = client.worklist("first").orders
    lists = [client.worklist(order) for order in offered]
    assert [each.order for each in lists] == list(offered)
    assert len({frozenset(case.image for case in each.cases) for each in lists}) == 1


def test_acts_arrive_once_although_answers_get_lost(client, journal):
    events = [act(), act("second_reader_withdrawn"), act()]
    with small_server() as between:
        lose = [False, True, False]

        def pass_on(request: Request) -> Reply:
            headers = {"Content-Type": "application/json"}
            url = client.address + request.path
            answer = requests.request(request.method, url, data=request.body, headers=headers, timeout=10)
            lost = lose.pop(0) if request.method == "POST" and lose else False
            return Reply(answer.content, answer.status_code, hang_up=lost)

        for method in ("GET", "POST"):
            between.answer(method, "*", pass_on)
        way = Client(between.url)
        for event in events:
            journal.append(way.address, event)
        with pytest.raises(ServerUnreachableError):
            send(way, journal)
        assert len(journal.pending(way.address)) == 2
        assert set(kept(client)) >= {event.event_id for event in events[:2]}
        assert send(way, journal) == Sent(2, 0, 0)
        assert journal.pending(way.address) == ()
    ids = [event.event_id for event in events]
    assert [each for each in kept(client) if each in ids] == ids
    arrived = parse_event(next(event for event in client.reviews(IMAGE).events if event["event_id"] == ids[0]))
    assert (arrived.reviewer, arrived.action, arrived.acted_utc) == ("anna", "second_reader", events[0].acted_utc)


def test_what_the_server_will_not_take_is_set_aside(client, journal):
    journal.append(client.address, act(image="absent"))
    journal.append(client.address, good := act())
    assert send(client, journal) == Sent(1, 1, 0)
    (refused,) = journal.refused(client.address)
    assert refused.reason.startswith("There is no image 'absent'.")
    assert good.event_id in kept(client)


def test_a_mask_arrives_with_the_act_that_names_it(running_server, client, journal, tmp_path):
    image = nibabel.load(running_server.studies / "axial.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 10:20, 2] = 1
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), tmp_path / "mask.nii.gz")
    content = (tmp_path / "mask.nii.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    after = {"mask_sha256": digest, "finding_ids": [], "segments": ["Lesion"]}
    journal.append(client.address, event := act("segmented", image="axial", after=after), content)
    assert send(client, journal) == Sent(1, 0, 0)
    (arrived,) = (each for each in client.reviews("axial").events if each["event_id"] == event.event_id)
    assert arrived["after"]["mask_sha256"] == digest
    client.send_mask("axial", digest, content)
    with pytest.raises(RequestRefusedError):
        client.send_mask("axial", "0" * 64, content)


def test_a_scoring_is_started_and_cancelled(client):
    started = client.start_scoring("clap_attention", {"config": "brain_mri", "images": "all"})
    assert (started.task, started.config, started.running) == ("clap_attention", "brain_mri", True)
    with pytest.raises(RequestRefusedError, match="running"):
        client.start_scoring("clap_attention", {"config": "brain_mri"})
    client.cancel_scoring()
    while (facts := client.scoring()).running:
        time.sleep(0.05)
    assert (facts.task, facts.error) == ("clap_attention", "")
    assert facts.status in {"STOPPED", "DONE"}
    assert client.cancel_scoring() is None
