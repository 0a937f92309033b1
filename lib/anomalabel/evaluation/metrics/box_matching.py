"""Which findings of one case hit which of its true boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.metrics.ranking import Numbers

AP_IOUS = (0.1, 0.3, 0.5)
"""Overlaps from which average precision counts a finding as right."""

FROC_IOU = 0.1
"""Overlap from which a finding hits a true box in the FROC curve."""


@dataclass(frozen=True, eq=False)
class ScoredHits:
    """Events of one case as a threshold on the findings' score falls.

    Args:
        scores: (events,) float64, at which each event happens.
        hits: (events,) bool, True for a true box found, False for a false alarm.
    """

    scores: Numbers
    hits: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MatchedFindings:
    """All that the finding metrics need of one case whose place of disease is known.

    Args:
        true_count: how many true boxes there are.
        froc: events of the FROC curve, see `froc_events`.
        matches: events of average precision, one entry per overlap of `AP_IOUS`, see `greedy_matches`.
    """

    true_count: int
    froc: ScoredHits
    matches: tuple[ScoredHits, ...]


def match_findings(found: Sequence[Box], true_boxes: Sequence[Box]) -> MatchedFindings:
    """Match a case's findings with its true boxes, rectangles or cuboids of the same dimension."""
    scores = np.array([box.score for box in found], dtype=np.float64)
    overlaps = box_ious(found, true_boxes)
    matches = tuple(greedy_matches(scores, overlaps, iou) for iou in AP_IOUS)
    return MatchedFindings(len(true_boxes), froc_events(scores, overlaps), matches)


def box_ious(first: Sequence[Box], second: Sequence[Box]) -> Numbers:
    """(first, second) intersection over union of boxes whose ends both belong to them."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    low, high = (np.array([getattr(box, end) for box in first], dtype=np.float64) for end in ("low", "high"))
    other_low, other_high = (
        np.array([getattr(box, end) for box in second], dtype=np.float64) for end in ("low", "high")
    )
    shared_high = np.minimum(high[:, None], other_high[None])
    shared_low = np.maximum(low[:, None], other_low[None])
    shared = np.clip(shared_high - shared_low + 1, 0, None).prod(-1)
    sizes, other_sizes = (high - low + 1).prod(-1), (other_high - other_low + 1).prod(-1)
    return shared / (sizes[:, None] + other_sizes[None] - shared)


def froc_events(scores: Numbers, overlaps: Numbers) -> ScoredHits:
    """Events of the FROC curve.

    A true box is found at the score of the best finding that overlaps it by `FROC_IOU` or more; a finding that overlaps
    no true box that much is a false alarm; a second finding on the same box is neither.

    Args:
        scores: (findings,).
        overlaps: (findings, true boxes).
    """
    touches = overlaps >= FROC_IOU
    found_at = np.where(touches, scores[:, None], -np.inf).max(0, initial=-np.inf)
    found_at = found_at[np.isfinite(found_at)]
    false_alarms = scores[~touches.any(1)]
    hits = np.concatenate([np.ones(len(found_at), dtype=bool), np.zeros(len(false_alarms), dtype=bool)])
    return ScoredHits(np.concatenate([found_at, false_alarms]), hits)


def greedy_matches(scores: Numbers, overlaps: Numbers, iou: float) -> ScoredHits:
    """Events of average precision: findings from the highest score down, equal scores in the order given.

    Each takes, of the true boxes still free, the one that it overlaps most, if by `iou` or more; it is a false alarm
    otherwise, so a second finding on the same box is one too.
    """
    free = np.ones(overlaps.shape[1], dtype=bool)
    hits = np.zeros(len(scores), dtype=bool)
    for number in np.argsort(-scores, kind="stable"):
        candidates = np.where(free, overlaps[number], -1.0)
        if len(candidates) and candidates.max() >= iou:
            free[candidates.argmax()] = False
            hits[number] = True
    return ScoredHits(scores, hits)
