"""Near-duplicates between the shots and the test images of each draw, found once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.duplicates import SIMILARITY, Thumbprint, find_near_duplicates
from anomalabel.evaluation.protocol import Draw
from anomalabel.evaluation.reading import Watch
from anomalabel.evaluation.store import ResultStore, code_version, key_of


@dataclass(frozen=True)
class LookAlike:
    """A test image that looks like a shot, and the draws in which the one is tested and the other is a shot."""

    shot: str
    test: str
    similarity: float
    mirrored: bool
    draws: tuple[int, ...]


@dataclass(frozen=True)
class AlikePairs:
    """All pairs of one choice of shots and test images: identity of the shot, of the test image, likeness, mirrored."""

    pairs: tuple[tuple[str, str, float, bool], ...]


def look_alikes(
    draws: Sequence[Draw],
    failed: Set[EvaluationCase],
    hashes: Mapping[EvaluationCase, str],
    store: ResultStore,
    watch: Watch,
) -> tuple[LookAlike, ...]:
    """Near-duplicates between shots and test images of the same draw, most alike first.

    Draws that hold the same images are searched once.

    Args:
        draws: shots and test images.
        failed: images that are left out.
        hashes: of the files of every other image.
        store: of finished results, which the pairs join.
        watch: told what is done; may raise to stop.
    """
    thumbprints: dict[Path, Thumbprint] = {}
    seen: dict[tuple[str, str], list[tuple[int, float, bool]]] = {}
    for draw in draws:
        shots = (*draw.shots, *draw.calibration)
        tested = [case for case in draw.tested if case not in failed]
        key = key_of({"kind": "look-alikes", "code": code_version(), **_facts(shots, tested, hashes)})
        found = store.get(key)
        if not isinstance(found, AlikePairs):
            found = _search(shots, tested, thumbprints, watch)
            store.put({key: found})
        for shot, test, similarity, mirrored in found.pairs:
            seen.setdefault((shot, test), []).append((draw.number, similarity, mirrored))
    pairs = [
        LookAlike(shot, test, times[0][1], times[0][2], tuple(number for number, _, _ in times))
        for (shot, test), times in seen.items()
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.similarity, pair.shot, pair.test)))


def _search(
    shots: Sequence[EvaluationCase],
    tested: Sequence[EvaluationCase],
    thumbprints: dict[Path, Thumbprint],
    watch: Watch,
) -> AlikePairs:
    found = find_near_duplicates(
        shots, tested, thumbprints, SIMILARITY, lambda done, total: watch("near-duplicates", done, total)
    )
    return AlikePairs(tuple((pair.shot.identity, pair.case.identity, pair.similarity, pair.mirrored) for pair in found))


def _facts(
    shots: Sequence[EvaluationCase], tested: Sequence[EvaluationCase], hashes: Mapping[EvaluationCase, str]
) -> dict[str, list[list[str]]]:
    """Which images are compared, whatever their order."""
    return {
        name: sorted([case.identity, hashes[case]] for case in cases)
        for name, cases in (("shots", shots), ("tested", tested))
    }
