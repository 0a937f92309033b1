"""How far each image is: read once, and again exactly where a file changed."""

import os
from pathlib import Path

import pytest

from monailabel_app.reviews.event import Review
from monailabel_app.reviews.standings import Standings
from monailabel_app.reviews.store import ReviewStore


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews")


def say(store: ReviewStore, image: str, action: str, reviewer: str = "A") -> None:
    store.add(image, Review(reviewer=reviewer, action=action))


def test_only_changed_files_are_read_again(store: ReviewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for image in ("a", "b", "c"):
        say(store, image, "case_normal")
    read: list[str] = []
    real = ReviewStore.chain

    def counted(self: ReviewStore, image: str) -> object:
        read.append(image)
        return real(self, image)

    monkeypatch.setattr(ReviewStore, "chain", counted)
    standings = Standings(store)
    assert {image: one.state for image, one in standings.all().items()} == dict.fromkeys("abc", "reviewed")
    assert sorted(read) == ["a", "b", "c"]
    say(store, "b", "second_reader")
    read.clear()
    assert standings.all()["b"].state == "second_reader"
    assert (standings.all()["a"].verdict, read) == ("normal", ["b"])


def test_a_change_that_keeps_size_and_time_is_seen(store: ReviewStore, tmp_path: Path) -> None:
    say(store, "a", "case_normal")
    standings = Standings(store)
    assert standings.all()["a"].problem == ""
    file = tmp_path / "reviews" / "a.jsonl"
    facts = file.stat()
    file.write_bytes(file.read_bytes().replace(b'"case_normal"', b'"case_nirmal"'))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    told = standings.all()["a"]
    assert "a.jsonl, line 1" in told.problem
    assert (told.state, told.verdict) == ("in_review", None)


def test_masks_and_torn_lines_beside_the_files_are_no_images(store: ReviewStore, tmp_path: Path) -> None:
    assert Standings(store).all() == {}
    say(store, "a", "case_abnormal")
    (tmp_path / "reviews" / "masks" / "a").mkdir(parents=True)
    (tmp_path / "reviews" / "a.jsonl.torn-1").write_bytes(b"{")
    (found,) = Standings(store).all().items()
    assert (found[0], found[1].verdict, found[1].reviewer) == ("a", "abnormal", "A")
