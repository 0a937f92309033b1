"""Near-duplicates of all draws: searched once for the same images, and not again by the next command."""

from __future__ import annotations

import pytest

from anomalabel.evaluation import look_alikes as module
from anomalabel.evaluation.duplicates import NearDuplicate, find_near_duplicates
from anomalabel.evaluation.look_alikes import AlikePairs, LookAlike, look_alikes
from anomalabel.evaluation.protocol import Draw
from anomalabel.evaluation.store import hash_of_files, open_store


@pytest.fixture
def searched(monkeypatch) -> list[int]:
    """How many shots each search was about."""
    counts: list[int] = []

    def remember(shots, *arguments):
        counts.append(len(shots))
        return find_near_duplicates(shots, *arguments)

    monkeypatch.setattr(module, "find_near_duplicates", remember)
    return counts


def test_the_same_images_are_searched_once_whatever_their_order(make_set, searched, tmp_path):
    images = make_set(normal=4, abnormal=0, healthy=4)
    images.cases[1].image.write_bytes(images.healthy[2].image.read_bytes())
    hashes = {case: hash_of_files(case.image) for case in (*images.cases, *images.healthy)}
    draws = [
        Draw(0, images.healthy, images.cases),
        Draw(1, images.healthy[::-1], images.cases),
        Draw(2, images.healthy[:2], images.cases),
        Draw(3, (), images.cases, images.healthy),
    ]
    expected = (LookAlike("healthy2.png", "normal1.png", 1.0, False, (0, 1, 3)),)
    told = []
    with open_store(tmp_path / "out", (AlikePairs,)) as store:
        found = look_alikes(draws, set(), hashes, store, lambda *stage: told.append(stage))
        assert found == expected
        assert searched == [4, 2]
        assert told[0] == ("near-duplicates", 0, 12)
    with open_store(tmp_path / "out", (AlikePairs,)) as store:
        assert look_alikes(draws, set(), hashes, store, lambda *stage: None) == expected
        assert searched == [4, 2]
        changed = {case: f"{one}{case.identity == 'normal3.png'}" for case, one in hashes.items()}
        look_alikes(draws[:1], set(), changed, store, lambda *stage: None)
        assert searched == [4, 2, 4]
        assert look_alikes(draws, {images.cases[1]}, hashes, store, lambda *stage: None) == ()


def test_pairs_are_told_most_alike_first(make_set, monkeypatch, tmp_path):
    images = make_set(normal=3, abnormal=0, healthy=3)
    likeness = (0.7, 0.7, 0.9)
    pairs = [NearDuplicate(*pair) for pair in zip(images.healthy, images.cases, likeness, strict=True)]
    monkeypatch.setattr(module, "find_near_duplicates", lambda *arguments: pairs[::-1])
    hashes = {case: case.identity for case in (*images.cases, *images.healthy)}
    with open_store(tmp_path, (AlikePairs,)) as store:
        draw = Draw(4, images.healthy, images.cases)
        found = look_alikes([draw], set(), hashes, store, lambda *stage: None)
    assert [(pair.shot, pair.similarity, pair.draws) for pair in found] == [
        ("healthy2.png", 0.9, (4,)),
        ("healthy0.png", 0.7, (4,)),
        ("healthy1.png", 0.7, (4,)),
    ]
