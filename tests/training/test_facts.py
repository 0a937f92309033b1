from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.training.facts import DISEASED, HEALTHY, PLANTED, Facts, place_of, truth_table

any_facts = st.builds(
    Facts,
    anatomy=st.sampled_from(["", "brain", "chest"]),
    modality=st.sampled_from(["", "MRI", "X-ray"]),
    plane=st.sampled_from(["", "axial"]),
    condition=st.sampled_from(["", HEALTHY, DISEASED, PLANTED, "glioma", "pneumonia"]),
    side=st.sampled_from(["", "left", "right"]),
    height=st.sampled_from(["", "upper"]),
    size=st.sampled_from(["", "small", "large"]),
)


def contradict(field: str, said: str, known: str) -> bool:
    if "" in (said, known) or said == known:
        return False
    if field == "condition" and {said, known} & {DISEASED, PLANTED}:
        return HEALTHY in (said, known)
    return True


def judge(claim: Facts, image: Facts) -> str:
    """Field by field, one text and one image."""
    pairs = [(field, said, getattr(image, field)) for field, said in vars(claim).items()]
    if any(contradict(*pair) for pair in pairs):
        return "false"
    return "unknown" if any(said and not known for _, said, known in pairs) else "true"


@given(claims=st.lists(any_facts, max_size=5), images=st.lists(any_facts, max_size=5))
def test_truth_is_that_of_each_pair_alone(claims: list[Facts], images: list[Facts]) -> None:
    true, false = truth_table(claims, images)
    assert true.shape == false.shape == (len(images), len(claims))
    for row, image in enumerate(images):
        for column, claim in enumerate(claims):
            judged = judge(claim, image)
            assert (true[row, column], false[row, column]) == (judged == "true", judged == "false")


def test_what_is_true_of_a_glioma_on_the_left() -> None:
    glioma = Facts(anatomy="brain", modality="MRI", condition="glioma", side="left")
    claims = [
        Facts(condition="glioma"),
        Facts(anatomy="brain", condition=DISEASED),
        Facts(condition=HEALTHY),
        Facts(condition="meningioma"),
        Facts(anatomy="chest", condition="glioma"),
        Facts(condition="glioma", side="right"),
        Facts(condition="glioma", plane="axial"),
        Facts(),
    ]
    true, false = truth_table(claims, [glioma])
    assert true[0].tolist() == [True, True, False, False, False, False, False, True]
    assert false[0].tolist() == [False, False, True, True, True, True, False, False]


def test_any_disease_may_be_said_of_a_planted_lesion_but_not_health() -> None:
    claims = [Facts(condition=name) for name in ("glioma", "pneumonia", DISEASED, HEALTHY)]
    true, false = truth_table(claims, [Facts(anatomy="brain", condition=PLANTED)])
    assert true[0].tolist() == [True, True, True, False]
    assert false[0].tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(0, 20), slice(0, 10), ("left", "upper", "")),
        (slice(80, 100), slice(60, 90), ("right", "lower", "large")),
        (slice(45, 55), slice(0, 9), ("left", "", "small")),
        (slice(0, 9), slice(45, 55), ("", "upper", "small")),
        (slice(0, 100), slice(0, 100), ("", "", "large")),
        (slice(0, 0), slice(0, 0), ("", "", "")),
    ],
)
def test_places_in_a_picture_of_100_by_100(rows: slice, columns: slice, expected: tuple[str, str, str]) -> None:
    lesion = np.zeros((100, 100), dtype=np.float32)
    lesion[rows, columns] = 0.9
    assert place_of(lesion) == expected


def test_faint_edges_are_not_inside() -> None:
    lesion = np.full((50, 80), 0.4, dtype=np.float32)
    lesion[40, 70] = 0.6
    assert place_of(lesion) == ("right", "lower", "small")
    assert place_of(np.full((50, 80), 0.5, dtype=np.float32)) == ("", "", "")
