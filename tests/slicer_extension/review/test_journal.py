"""The queue on disk: kept before anything else happens, each act once, in order."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path

import pytest
from AnomaLabelLib.errors import JournalError
from AnomaLabelLib.review import journal as journal_module
from AnomaLabelLib.review import line_file
from AnomaLabelLib.review.folder_lock import folder_lock
from AnomaLabelLib.review.journal import Journal
from review_examples import IMAGE, event, row

SERVER, OTHER = "http://127.0.0.1:8000", "https://reading.example"


def acts(count, **values):
    """Events that differ in their ids."""
    return [event("accepted", "a", minute=number, before=row(), **values) for number in range(count)]


def mask_event(content):
    """A mask's event."""
    after = {"mask_sha256": hashlib.sha256(content).hexdigest(), "finding_ids": [], "segments": ["Lesion"]}
    return event("segmented", after=after)


def queued(journal, server=SERVER):
    """What waits for a server."""
    return [act.event for act in journal.pending(server)]


def test_an_untouched_folder_is_empty_and_stays_untouched(tmp_path):
    journal = Journal(tmp_path / "acts")
    assert (journal.pending(SERVER), journal.refused(SERVER), journal.events(SERVER, IMAGE)) == ((), (), ())
    assert journal.waiting() == {}
    assert not (tmp_path / "acts").exists()


def test_acts_come_back_whole_and_in_order_after_a_restart(tmp_path):
    sent = [
        *acts(2),
        event("rejected", "é", before=row("é"), reason="Gefäß\n\u2028", undoes=str(uuid.uuid4())),
        event("case_normal"),
    ]
    journal = Journal(tmp_path)
    for act in sent:
        journal.append(SERVER, act)
        assert queued(Journal(tmp_path))[-1] == act
    assert queued(Journal(tmp_path)) == queued(journal) == sent


def test_each_server_has_its_own_queue(tmp_path):
    first, second, third = acts(3)
    journal = Journal(tmp_path)
    journal.append(SERVER, first)
    journal.append(OTHER, second)
    journal.append(SERVER, third)
    assert (queued(journal), queued(journal, OTHER)) == ([first, third], [second])
    assert journal.waiting() == {SERVER: 2, OTHER: 1}
    assert journal.events(OTHER, IMAGE) == (second,)


def test_what_the_server_has_leaves_the_queue_and_stays_among_the_events(tmp_path):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
    journal.acknowledge(first.event_id)
    journal.acknowledge(first.event_id)
    journal.acknowledge(str(uuid.uuid4()))
    for again in (journal, Journal(tmp_path)):
        assert queued(again) == [second]
        assert again.events(SERVER, IMAGE) == (first, second)
        assert again.events(SERVER, "another") == ()


def test_an_act_is_kept_once(tmp_path):
    (act,) = acts(1)
    journal = Journal(tmp_path)
    journal.append(SERVER, act)
    Journal(tmp_path).append(SERVER, act)
    journal.acknowledge(act.event_id)
    journal.append(SERVER, act)
    assert queued(Journal(tmp_path)) == []


def test_a_refused_act_is_set_aside_for_ever(tmp_path):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
    journal.refuse(first.event_id, "There is no image 'head-7'.")
    journal.refuse(first.event_id, "again")
    journal.compact()
    for again in (journal, Journal(tmp_path)):
        assert queued(again) == [second]
        assert again.events(SERVER, IMAGE) == (second,)
        (refused,) = again.refused(SERVER)
        assert (refused.event, refused.reason) == (first, "There is no image 'head-7'.")
        assert refused.refused_utc.tzinfo is not None
        assert again.refused(OTHER) == ()


def test_a_crash_between_refusing_and_noting_it_loses_nothing(tmp_path):
    (act,) = acts(1)
    journal = Journal(tmp_path)
    journal.append(SERVER, act)
    before = (tmp_path / "acts.jsonl").read_bytes()
    journal.refuse(act.event_id, "no")
    (tmp_path / "acts.jsonl").write_bytes(before)
    assert queued(Journal(tmp_path)) == []
    assert len(Journal(tmp_path).refused(SERVER)) == 1


def test_a_mask_stays_until_the_server_has_every_act_that_names_it(tmp_path):
    content = b"NRRD0004" + bytes(1000)
    first, second = mask_event(content), mask_event(content)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act, content)
    (file,) = (tmp_path / "masks").iterdir()
    assert [act.mask for act in Journal(tmp_path).pending(SERVER)] == [content, content]
    journal.acknowledge(first.event_id)
    assert file.exists()
    journal.acknowledge(second.event_id)
    assert not file.exists()
    assert [act.mask for act in journal.pending(SERVER)] == []


def test_the_mask_of_a_refused_act_stays(tmp_path):
    act = mask_event(b"mask")
    journal = Journal(tmp_path)
    journal.append(SERVER, act, b"mask")
    journal.refuse(act.event_id, "another grid")
    journal.compact()
    assert [path.read_bytes() for path in (tmp_path / "masks").iterdir()] == [b"mask"]


def test_an_act_without_mask_has_none_and_another_mask_is_not_taken(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match="another mask"):
        journal.append(SERVER, mask_event(b"mask"), b"other")
    journal.append(SERVER, *acts(1))
    assert journal.pending(SERVER)[0].mask is None


def test_cut_off_at_any_byte_it_keeps_what_was_whole_and_goes_on(tmp_path, monkeypatch):
    # Thousands of syncs would take longer than all other tests.
    monkeypatch.setattr(line_file.os, "fsync", lambda _descriptor: None)
    sent = [event("case_normal", event_id=str(uuid.uuid4())) for _act in range(3)]
    whole = Journal(tmp_path / "whole")
    for act in sent:
        whole.append(SERVER, act)
    whole.acknowledge(sent[0].event_id)
    content = (tmp_path / "whole" / "acts.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    assert len(ends) == 5
    last = event("case_reopened")
    folder = tmp_path / "cut"
    folder.mkdir()
    path = folder / "acts.jsonl"
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        lines = sum(end <= length for end in ends)
        kept = sent[: max(lines - 1, 0)][1 if lines == 5 else 0 :]
        journal = Journal(folder)
        assert queued(journal) == kept
        journal.append(SERVER, last)
        assert queued(Journal(folder)) == [*kept, last]
        torn = folder / "acts.jsonl.torn"
        assert torn.exists() is (length not in {0, *ends})
        if torn.exists():
            assert torn.read_bytes() == content[max([0, *(end for end in ends if end <= length)]) : length] + b"\n"
            torn.unlink()


def test_a_line_that_somebody_spoilt_is_passed_over_and_stays(tmp_path):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
    path = tmp_path / "acts.jsonl"
    header, one, two = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([header, one[:50], b"[]", b'{"note":1}', two]) + b"\n")
    journal = Journal(tmp_path)
    assert queued(journal) == [second]
    journal.compact()
    assert queued(Journal(tmp_path)) == [second]
    assert one[:50] in path.read_bytes().splitlines()


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "is full"), (errno.EACCES, "may not be written"), (errno.EIO, "cannot be used")],
)
def test_an_act_that_cannot_reach_the_disk_is_not_done(tmp_path, monkeypatch, code, words):
    first, second = acts(2)
    journal = Journal(tmp_path)
    journal.append(SERVER, first)
    before = (tmp_path / "acts.jsonl").read_bytes()

    def fail(_descriptor):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(line_file.os, "fsync", fail)
        with pytest.raises(JournalError, match=words) as caught:
            journal.append(SERVER, second)
    assert str(tmp_path) in caught.value.cause
    assert caught.value.remedy
    assert (tmp_path / "acts.jsonl").read_bytes() == before
    assert queued(journal) == queued(Journal(tmp_path)) == [first]
    journal.append(SERVER, second)
    assert queued(Journal(tmp_path)) == [first, second]


def test_a_mask_that_cannot_reach_the_disk_leaves_no_act(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append(SERVER, *acts(1))

    def fail(_descriptor):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(line_file.os, "fsync", fail)
        with pytest.raises(JournalError, match="full"):
            journal.append(SERVER, mask_event(b"mask"), b"mask")
    assert len(queued(Journal(tmp_path))) == 1
    assert list((tmp_path / "masks").iterdir()) == []


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file"):
        Journal(tmp_path / "file" / "acts").append(SERVER, *acts(1))


def test_a_program_that_holds_the_folder_is_waited_for_no_longer_than_said(tmp_path):
    journal = Journal(tmp_path, patience_s=0.05)
    with folder_lock(tmp_path, 1), pytest.raises(JournalError, match="Another program"):
        journal.append(SERVER, *acts(1))
    journal.append(SERVER, *acts(1))


def test_two_journals_on_one_folder_see_each_others_acts(tmp_path):
    one, other = Journal(tmp_path), Journal(tmp_path)
    first, second, third = acts(3)
    one.append(SERVER, first)
    other.append(SERVER, second)
    assert queued(one) == queued(other) == [first, second]
    other.acknowledge(first.event_id)
    other.refuse(second.event_id, "no")
    assert queued(one) == []
    assert len(one.refused(SERVER)) == 1
    other.compact()
    one.append(SERVER, third)
    assert queued(other) == [third]


def test_what_a_running_panel_holds_goes_back_to_a_disk_that_lost_it(tmp_path):
    first, second = acts(2)
    journal = Journal(tmp_path)
    journal.append(SERVER, first)
    (tmp_path / "acts.jsonl").unlink()
    journal.append(SERVER, second)
    assert queued(Journal(tmp_path)) == [first, second]


def test_compaction_keeps_what_waits_and_the_open_case(tmp_path):
    journal = Journal(tmp_path)
    done, waiting, here = acts(1)[0], acts(1)[0], acts(1)[0]
    journal.append(SERVER, done)
    journal.append(OTHER, waiting)
    journal.append(OTHER, here)
    for act in (done, here):
        journal.acknowledge(act.event_id)
    (tmp_path / "acts.jsonl.7.new").write_bytes(b"half")
    journal.compact()
    for again in (journal, Journal(tmp_path)):
        assert again.events(SERVER, IMAGE) == ()
        assert again.events(OTHER, IMAGE) == (waiting, here)
        assert queued(again, OTHER) == [waiting]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "acts.jsonl"]


def test_a_full_disk_leaves_the_journal_longer_and_nothing_else(tmp_path, monkeypatch):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
    journal.acknowledge(first.event_id)
    before = (tmp_path / "acts.jsonl").read_bytes()

    def fail(_descriptor):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(line_file.os, "fsync", fail)
        journal.compact()
    assert (tmp_path / "acts.jsonl").read_bytes() == before
    assert queued(journal) == queued(Journal(tmp_path)) == [second]


def test_it_compacts_by_itself_as_it_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "SETTLED_BEFORE_COMPACTION", 5)
    journal = Journal(tmp_path)
    for number, act in enumerate(acts(40)):
        journal.append(f"http://server-{number}", act)
        journal.acknowledge(act.event_id)
    assert len((tmp_path / "acts.jsonl").read_bytes().splitlines()) < 20


def many(path: Path, count: int, sent: int) -> list[str]:
    """A journal of many acts, the first `sent` of them acknowledged, written without its code."""
    ids = [str(uuid.uuid4()) for _act in range(count)]
    body = json.dumps(event("accepted", "a", event_id="ID", before=row()).to_body())
    lines = [line_file.HEADER.decode() + "0" * 32]
    for number, event_id in enumerate(ids):
        told = body.replace('"ID"', f'"{event_id}"')
        lines.append(f'{{"act":"{event_id}","server":"{SERVER}","image":"head-{number // 20}","body":{told}}}')
        if number < sent:
            lines.append(f'{{"sent":"{event_id}"}}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return ids


def test_a_journal_of_many_acts_is_made_short_at_its_first_reading(tmp_path):
    path = tmp_path / "acts.jsonl"
    ids = many(path, 10_000, 9_990)
    before = path.stat().st_size
    assert [act.event_id for act in queued(Journal(tmp_path))] == ids[-10:]
    assert path.stat().st_size < before / 100
    assert [act.event_id for act in queued(Journal(tmp_path))] == ids[-10:]


def test_asking_again_does_not_read_again(tmp_path, monkeypatch):
    many(tmp_path / "acts.jsonl", 2000, 1000)
    journal = Journal(tmp_path)
    assert len(journal.pending(SERVER)) == 1000
    monkeypatch.setattr(line_file.LineFile, "read", None)
    assert len(journal.pending(SERVER)) == 1000


def refused_ids(journal, server=SERVER):
    """What a server will not take."""
    return [act.event.event_id for act in journal.refused(server)]


@pytest.mark.parametrize("compacted", [False, True])
def test_refused_acts_wait_again_in_their_order_with_their_masks(tmp_path, compacted):
    first, masked, third, last, foreign = [*acts(1), mask_event(b"mask"), *acts(3)]
    journal = Journal(tmp_path)
    for act in (first, masked, third, last):
        journal.append(SERVER, act, b"mask" if act is masked else None)
    journal.append(OTHER, foreign)
    for act in (first, masked, third, foreign):
        journal.refuse(act.event_id, "no")
    if compacted:
        # The open case is another, so that the refused acts are kept as refused alone.
        journal.events(OTHER, "another")
        journal.compact()
    before = Journal(tmp_path)
    assert queued(before) == [last]
    restarted = Journal(tmp_path)
    assert (restarted.requeue(SERVER), restarted.requeue(SERVER)) == (3, 0)
    for again in (restarted, before, journal, Journal(tmp_path)):
        assert queued(again) == [first, masked, third, last]
        assert again.pending(SERVER)[1].mask == b"mask"
        assert again.events(SERVER, IMAGE) == (first, masked, third, last)
        assert again.refused(SERVER) == ()
        assert refused_ids(again, OTHER) == [foreign.event_id]
        assert again.waiting() == {SERVER: 4}


def test_what_waits_again_survives_compaction_and_may_be_refused_again_or_taken(tmp_path):
    first, masked = acts(1)[0], mask_event(b"mask")
    journal = Journal(tmp_path)
    journal.append(SERVER, first)
    journal.append(SERVER, masked, b"mask")
    for act in (first, masked):
        journal.refuse(act.event_id, "no")
    assert journal.requeue(SERVER) == 2
    journal.compact()
    journal.refuse(first.event_id, "still no")
    journal.acknowledge(masked.event_id)
    journal.compact()
    for again in (journal, Journal(tmp_path)):
        assert queued(again) == []
        assert [(act.event, act.reason) for act in again.refused(SERVER)] == [(first, "still no")]
        assert again.events(SERVER, IMAGE) == (masked,)
    assert list((tmp_path / "masks").iterdir()) == []
    assert Journal(tmp_path).requeue(SERVER) == 1
    assert queued(journal) == [first]


def test_ended_at_any_moment_each_act_is_refused_or_waits(tmp_path, monkeypatch):
    folder = tmp_path / "acts"
    sent = [*acts(2), mask_event(b"mask")]
    journal = Journal(folder)
    for act in sent:
        journal.append(SERVER, act, b"mask" if act is sent[2] else None)
    for act in sent[:1] + sent[2:]:
        journal.refuse(act.event_id, "no")
    moments = []

    def keep_a_moment(function):
        def call(*arguments):
            for when in ("before", "after"):
                moments.append(tmp_path / f"{len(moments)}-{when}")
                shutil.copytree(folder, moments[-1])
                if when == "before":
                    result = function(*arguments)
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(line_file.os, "fsync", keep_a_moment(os.fsync))
        patch.setattr(Path, "replace", keep_a_moment(Path.replace))
        assert journal.requeue(SERVER) == 2
    assert len(moments) >= 8
    seen = set()
    for moment in moments:
        for _reading in range(2):
            again = Journal(moment)
            waiting, refused = [act.event_id for act in queued(again)], refused_ids(again)
            assert sorted(waiting + refused) == sorted(act.event_id for act in sent)
        seen.add(len(refused))
        assert again.requeue(SERVER) == len(refused)
        assert queued(Journal(moment)) == queued(again) == sent
        assert again.pending(SERVER)[2].mask == b"mask"
    assert seen == {0, 2}


@pytest.mark.parametrize("file", ["acts.jsonl", "refused.jsonl"])
def test_a_full_disk_leaves_refused_acts_refused(tmp_path, monkeypatch, file):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
    journal.refuse(first.event_id, "no")
    write = line_file.write_whole

    def fail(path, content):
        if path.name == file:
            raise OSError(errno.ENOSPC, "full")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(line_file, "write_whole", fail)
        with pytest.raises(JournalError, match="is full"):
            journal.requeue(SERVER)
    for again in (journal, Journal(tmp_path)):
        assert queued(again) == [second]
        assert refused_ids(again) == [first.event_id]
    assert journal.requeue(SERVER) == 1
    assert queued(journal) == queued(Journal(tmp_path)) == [first, second]


def test_a_refused_act_that_somebody_spoilt_stays_and_the_others_wait_again(tmp_path):
    first, second = acts(2)
    journal = Journal(tmp_path)
    for act in (first, second):
        journal.append(SERVER, act)
        journal.refuse(act.event_id, "no")
    path = tmp_path / "refused.jsonl"
    header, one, two = path.read_bytes().splitlines()
    no_event = one.replace(b'"reviewer":"anna"', b'"reviewer":7')
    path.write_bytes(b"\n".join([header, one[:50], no_event, two]) + b"\n")
    journal = Journal(tmp_path)
    assert journal.requeue(SERVER) == 1
    assert queued(Journal(tmp_path))[-1] == second
    assert path.read_bytes().splitlines()[1:] == [one[:50], no_event]


def test_refused_acts_of_an_older_version_wait_again(tmp_path):
    """It kept those of the open case, when it compacted, as if the server had them."""
    (act,) = acts(1)
    journal = Journal(tmp_path)
    journal.append(SERVER, act)
    journal.refuse(act.event_id, "no")
    path = tmp_path / "acts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"refused"', b'{"sent"'))
    older = Journal(tmp_path)
    assert (queued(older), refused_ids(older)) == ([], [act.event_id])
    assert older.requeue(SERVER) == 1
    assert queued(Journal(tmp_path)) == [act]
