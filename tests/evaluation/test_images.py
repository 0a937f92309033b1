"""Images of an evaluation: read when they are asked for, and no more of them kept than fit."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.config import AnatomyConfig
from anomalabel.errors import ImageReadError
from anomalabel.evaluation import images
from anomalabel.evaluation.images import CaseLoader, HealthyImages, LoadedCase, load_case

CONFIG = AnatomyConfig.model_validate(
    {
        "name": "grey",
        "title": "Grey",
        "anatomy": "nothing",
        "modality": "picture",
        "prompts": {"positive": ["disc"], "negative": ["waves"]},
        "preprocessing": {
            "intensity": {"kind": "ct_window", "center_hu": 128, "width_hu": 256},
            "foreground": {"enabled": False},
        },
    }
)


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Identities of the cases in the order in which they were read from disk."""
    names: list[str] = []

    def remember(case, config):
        names.append(case.identity)
        return load_case(case, config)

    monkeypatch.setattr(images, "load_case", remember)
    return names


def test_healthy_images_are_those_of_their_cases(make_set):
    cases = make_set(healthy=12).healthy
    healthy = HealthyImages(cases, CaseLoader(CONFIG))
    expected = [load_case(case, CONFIG).image.prepared.scaled for case in cases]
    assert len(healthy) == 12
    for found in (list(healthy), [healthy[number] for number in range(12)], list(healthy[:12])):
        assert [image.source for image in found] == [str(case.image) for case in cases]
        for image, scaled in zip(found, expected, strict=True):
            np.testing.assert_array_equal(image.prepared.scaled, scaled)
    assert healthy[-1].source == str(cases[-1].image)
    assert [image.source for image in healthy[8:3:-2]] == [str(cases[number].image) for number in (8, 6, 4)]
    with pytest.raises(IndexError):
        healthy[12]


def test_nothing_is_read_before_it_is_asked_for(make_set, read, monkeypatch):
    monkeypatch.setattr(images, "MOST_READERS", 2)
    cases = make_set(healthy=12).healthy
    healthy = HealthyImages(cases, CaseLoader(CONFIG))[2:]
    assert len(healthy) == 10
    assert not read
    iterator = iter(healthy)
    assert next(iterator).source == str(cases[2].image)
    assert next(iterator).source == str(cases[3].image)
    iterator.close()
    assert set(read) <= {case.identity for case in cases[2:6]}


def test_a_loader_keeps_no_more_than_its_limit_and_reads_again(make_set, read):
    cases = make_set(healthy=6).healthy
    size = load_case(cases[0], CONFIG).nbytes
    healthy = HealthyImages(cases, CaseLoader(CONFIG, limit=2 * size))
    list(healthy)
    list(healthy)
    assert len(read) == 12
    keeping = HealthyImages(cases, CaseLoader(CONFIG))
    read.clear()
    list(keeping)
    list(keeping)
    assert sorted(read) == sorted(case.identity for case in cases)


def test_large_images_are_not_read_ahead(make_set, read, monkeypatch):
    monkeypatch.setattr(images, "AHEAD_BYTES", 1)
    iterator = iter(HealthyImages(make_set(healthy=9).healthy, CaseLoader(CONFIG)))
    for count in range(1, 10):
        next(iterator)
        assert len(read) == count


def test_what_cannot_be_read_is_told_in_its_place(make_set):
    cases = make_set(healthy=5).healthy
    cases[2].image.write_bytes(b"no picture")
    loaded = list(CaseLoader(CONFIG).load_each(cases))
    assert [isinstance(one, LoadedCase) for one in loaded] == [True, True, False, True, True]
    assert cases[2].image.name in str(loaded[2])
    iterator = iter(HealthyImages(cases, CaseLoader(CONFIG)))
    assert [next(iterator).source, next(iterator).source] == [str(case.image) for case in cases[:2]]
    with pytest.raises(ImageReadError, match=cases[2].image.name):
        next(iterator)


def test_no_images_are_no_images():
    assert list(HealthyImages((), CaseLoader(CONFIG))) == []
