"""The worklist brings together what reviewers, models and clients did, quickly."""

import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from monailabel_app.reviews.event import Review
from monailabel_app.reviews.standings import Standings
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.scoring.store import ScoreStore, StudyScore
from monailabel_app.strategies.next_case import NextCase
from monailabel_app.worklist.leases import Leases
from monailabel_app.worklist.worklist import Worklist

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
STUDIES = 2000


class StandInScores:
    """The score of image nX is X for one task."""

    def scores(self, image: str) -> dict[str, StudyScore]:
        if not image.startswith("n"):
            return {}
        number = float(image.removeprefix("n"))
        said = StudyScore(image_score=number, relative=number, uncertainty=None, findings=1, model="m@1", utc=NOON)
        return {"few_shot_localization": said}


class StandInDatastore:
    """Some images, of which some have a label."""

    def __init__(self, images: list[str], unlabelled: list[str]) -> None:
        self.images, self.unlabelled = images, unlabelled

    def list_images(self) -> list[str]:
        return self.images

    def get_unlabeled_images(self) -> list[str]:
        return self.unlabelled


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews")


@pytest.fixture
def leases() -> Leases:
    return Leases(900, lambda: NOON)


@pytest.fixture
def worklist(store: ReviewStore, leases: Leases) -> Worklist:
    return Worklist(Standings(store), leases, StandInScores())


def say(store: ReviewStore, image: str, action: str, reviewer: str = "A") -> None:
    store.add(image, Review(reviewer=reviewer, action=action, acted_utc=NOON))


def test_a_case_tells_state_scores_rank_and_lease(worklist: Worklist, store: ReviewStore, leases: Leases) -> None:
    say(store, "n2", "case_abnormal", "B")
    say(store, "gone", "case_normal")
    leases.take("n1", "anna", "one")
    listing = worklist.listing(["n1", "n2", "x"], "most_anomalous", client="one")
    assert [case.image for case in listing.cases] == ["n2", "n1", "x"]
    first, second, last = listing.cases
    assert (first.state, first.verdict, first.reviewer, first.utc) == ("reviewed", "abnormal", "B", NOON)
    assert (first.rank, first.scores["few_shot_localization"].image_score, first.lease) == (0.75, 2.0, None)
    assert (second.state, second.verdict, second.rank) == ("new", None, 0.25)
    assert second.lease is not None
    assert (second.lease.reviewer, second.lease.mine) == ("anna", True)
    assert (last.rank, last.scores) == (None, {})
    (seen_by_another,) = worklist.listing(["n1"], "first", client="two").cases
    assert seen_by_another.lease is not None
    assert seen_by_another.lease.mine is False
    assert (listing.seconds_per_lease, len(listing.orders), len(listing.notes)) == (900, 5, 1)


def test_a_damaged_chain_is_the_problem_of_its_case_alone(
    worklist: Worklist, store: ReviewStore, tmp_path: Path
) -> None:
    for image in ("n1", "n2"):
        say(store, image, "case_normal")
    (tmp_path / "reviews" / "n1.jsonl").write_bytes(b"{}\n")
    damaged, whole = worklist.listing(["n1", "n2"], "first").cases
    assert "n1.jsonl, line 1" in damaged.problem
    assert (damaged.state, damaged.verdict) == ("in_review", None)
    assert (whole.state, whole.problem) == ("reviewed", "")


def test_a_name_that_is_no_text_does_not_break_the_list(worklist: Worklist) -> None:
    bad, good = worklist.listing(["a\udcff", "b"], "random").cases[::-1]
    listing = worklist.listing(["a\udcff", "b"], "first")
    assert listing.cases[0].image == "a\\udcff"
    assert "no UTF-8" in listing.cases[0].problem
    assert listing.model_dump_json()
    assert {bad.image, good.image} == {"a\\udcff", "b"}


@pytest.mark.parametrize("name", ["a:b", "a\\b", "a\nb", "labels", "x" * 240])
def test_a_file_that_no_client_can_ask_for_is_told_and_does_not_break_the_list(
    store: ReviewStore, leases: Leases, tmp_path: Path, name: str
) -> None:
    worklist = Worklist(Standings(store), leases, ScoreStore(tmp_path / "scores"))
    problems = {case.image: case.problem for case in worklist.listing([name, "n1"], "most_anomalous").cases}
    assert problems["n1"] == ""
    assert "Rename it on the server" in problems[name]
    assert [case.image for case in worklist.waiting([name, "n1"], "first")] == ["n1"]


def test_stock_clients_are_served_what_is_left(worklist: Worklist, store: ReviewStore, leases: Leases) -> None:
    images = ["n1", "n2", "n3", "n4", "n5"]
    say(store, "n5", "case_abnormal")
    leases.take("n4", "anna", "panel")
    datastore = StandInDatastore(images, unlabelled=["n1", "n2", "n4"])
    strategy = NextCase(worklist, "most_anomalous")
    assert strategy({}, datastore) == {"id": "n2", "state": "new"}
    assert strategy({"client_id": "panel"}, datastore) == {"id": "n4", "state": "new"}
    assert NextCase(worklist, "first")({}, datastore) == {"id": "n1", "state": "new"}
    drawn = [NextCase(worklist, "random")({"seed": seed}, datastore)["id"] for seed in range(20)]
    assert drawn == [NextCase(worklist, "random")({"seed": seed}, datastore)["id"] for seed in range(20)]
    assert set(drawn) == {"n1", "n2"}
    assert strategy({}, StandInDatastore(images, unlabelled=[])) is None


def test_two_thousand_studies_are_listed_well_within_a_second(worklist: Worklist, store: ReviewStore) -> None:
    images = [f"n{number}" for number in range(STUDIES)]
    say(store, "n0", "case_normal")
    line = (store._folder / "n0.jsonl").read_bytes()
    for image in images[1:]:
        (store._folder / f"{image}.jsonl").write_bytes(line.replace(b'"image":"n0"', f'"image":"{image}"'.encode()))
    assert {case.state for case in worklist.listing(images, "first").cases} == {"reviewed"}
    begin = time.perf_counter()
    text = worklist.listing(images, "most_anomalous").model_dump_json()
    assert time.perf_counter() - begin < 1
    assert text.count('"state":"reviewed"') == STUDIES
