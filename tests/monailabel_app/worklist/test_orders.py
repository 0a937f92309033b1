"""Orders of the worklist by hand-computed ranks."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monailabel_app.scoring.store import StudyScore
from monailabel_app.worklist.orders import ORDERS, CaseScores, OrderName, put_in_order

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def score(image_score: float, relative: float | None = None, uncertainty: float | None = None) -> StudyScore:
    return StudyScore(
        image_score=image_score, relative=relative, uncertainty=uncertainty, findings=1, model="m@1", utc=NOON
    )


def test_names_are_sorted_as_people_count() -> None:
    names = ["scan10", "scan2", "Scan1", "scan", "10", "9b", "scan2a", "b"]
    assert put_in_order(names, "first", {}, 0).images == (
        *("9b", "10", "b", "scan", "Scan1", "scan2", "scan2a", "scan10"),
    )


def test_the_most_anomalous_case_has_the_highest_mean_rank_over_the_tasks() -> None:
    # Task one: b 0.25, a 0.75 of two. Task two: c 1/6, a and b share 2/3 of three.
    scores = {
        "a": {"one": score(0, relative=2.0), "two": score(0, relative=9.0)},
        "b": {"one": score(0, relative=1.0), "two": score(0, relative=9.0)},
        "c": {"two": score(0, relative=0.1)},
        "d": {},
    }
    ordered = put_in_order(["d", "c", "b", "a"], "most_anomalous", scores, 0)
    assert ordered.images == ("a", "b", "c", "d")
    assert ordered.ranks == pytest.approx({"a": (0.75 + 2 / 3) / 2, "b": (0.25 + 2 / 3) / 2, "c": 1 / 6})
    assert ordered.notes == ("1 of 4 cases has no scores and comes last. Score the unscored studies with a method.",)


def test_scores_that_are_not_all_calibrated_are_ranked_as_they_are_and_that_is_told() -> None:
    scores = {
        "a": {"clap_attention": score(5.0, relative=0.5)},
        "b": {"clap_attention": score(7.0)},
        "c": {"clap_attention": score(6.0, relative=3.0)},
    }
    ordered = put_in_order(list("abc"), "most_anomalous", scores, 0)
    assert ordered.images == ("b", "c", "a")
    (note,) = ordered.notes
    assert note.startswith("The scores of clap_attention are not calibrated: they compare within an image")
    calibrated = {image: {"x": score(said["clap_attention"].image_score, 1.0)} for image, said in scores.items()}
    assert put_in_order(list("abc"), "most_anomalous", calibrated, 0).notes == ()


def test_the_most_uncertain_case_has_the_highest_mean_rank_of_its_uncertainty() -> None:
    scores = {
        "a": {"one": score(1, 1.0, uncertainty=0.2), "two": score(9, 1.0)},
        "b": {"one": score(1, 1.0, uncertainty=0.9)},
        "c": {"two": score(1, 1.0)},
    }
    ordered = put_in_order(list("cba"), "most_uncertain", scores, 0)
    assert ordered.images == ("b", "a", "c")
    assert ordered.ranks == {"a": 0.25, "b": 0.75}
    assert ordered.notes[0].startswith("1 of 3 cases has no uncertainty and comes last.")


def test_disagreement_is_the_largest_minus_the_smallest_rank_over_the_tasks() -> None:
    # Ranks of a, b, c are 1/6, 3/6, 5/6 for task one and 5/6, 3/6, 1/6 for task two; of d only one is known.
    scores = {
        "a": {"one": score(0, 1.0), "two": score(0, 6.0)},
        "b": {"one": score(0, 2.0), "two": score(0, 5.0)},
        "c": {"one": score(0, 3.0), "two": score(0, 4.0)},
    }
    ordered = put_in_order(list("abc"), "most_disagreement", scores, 0)
    assert ordered.images == ("a", "c", "b")
    assert ordered.ranks == pytest.approx({"a": 4 / 6, "b": 0, "c": 4 / 6})
    with_one = put_in_order([*"abc", "d", "e"], "most_disagreement", {**scores, "d": {"one": score(0, 9.0)}}, 0)
    assert with_one.images[3:] == ("d", "e")
    assert with_one.notes == (
        "2 of 5 cases were not scored by two methods and come last. Score them with a second method.",
    )


def test_the_random_order_depends_on_the_seed_alone_and_not_on_other_studies() -> None:
    names = [f"n{number}" for number in range(50)]
    first, again = (put_in_order(given, "random", {}, 3).images for given in (names, names[::-1]))
    assert first == again
    assert sorted(first) == sorted(names) != list(first)
    assert put_in_order(names, "random", {}, 4).images != first
    without = put_in_order([name for name in names if name != "n7"], "random", {}, 3).images
    assert without == tuple(name for name in first if name != "n7")


values = st.none() | st.floats(-10, 10)
told = st.dictionaries(st.sampled_from(["one", "two"]), st.tuples(st.floats(-10, 10), values, values))


@given(st.dictionaries(st.text(max_size=5), told, max_size=8), st.sampled_from(ORDERS))
def test_any_order_holds_every_case_once_and_goes_down(drawn: dict[str, dict], order: OrderName) -> None:
    scores: CaseScores = {
        image: {task: score(*numbers) for task, numbers in tasks.items()} for image, tasks in drawn.items()
    }
    ordered = put_in_order(list(scores), order, scores, 1)
    assert sorted(ordered.images) == sorted(scores)
    ranks = [ordered.ranks.get(image) for image in ordered.images]
    known = [rank for rank in ranks if rank is not None]
    assert ranks == known + [None] * (len(ranks) - len(known))
    assert known == sorted(known, reverse=True)
    assert all(0 <= rank <= 1 for rank in known)
