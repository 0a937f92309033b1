"""Pixels of many cases in one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.metrics.ranking import Numbers, count_by_case, rank
from anomalabel.evaluation.metrics.sketch import Sketch, group_by_rank

RESAMPLING_RESOLUTION = 128
"""Highest pooled values that keep a bin of their own in a bootstrap."""


@dataclass(frozen=True, eq=False)
class PixelRanks:
    """Sketches of one case's map values.

    Args:
        outside: seen pixels outside the lesion.
        inside: all lesion pixels, unseen ones at -inf.
        regions: the same pixels, each weighing 1 / pixels of its region.
        region_count: connected parts of the lesion.
    """

    outside: Sketch
    inside: Sketch
    regions: Sketch
    region_count: int


class PixelPool:
    """Counts per value from high to low, for any weighting of the cases.

    Args:
        cases: one entry per case.
        resolution: None keeps all values; a number pools neighbouring ranks further (see `group_by_rank`), which
            bounds the work of a bootstrap.
    """

    def __init__(self, cases: Sequence[PixelRanks], resolution: int | None = None) -> None:
        kinds = [[case.inside for case in cases], [case.outside for case in cases], [case.regions for case in cases]]
        pooled = [_pool(sketches) for sketches in kinds]
        everything = np.concatenate([values for values, _, _ in pooled])
        self.values, bins = rank(everything)
        if resolution is not None:
            starts = np.unique(np.concatenate([_group_starts(*kind[:2], resolution) for kind in pooled[:2]]))
            self.values, bins = rank(starts[np.searchsorted(starts, everything, side="right") - 1])
        shape = (len(cases), len(self.values))
        splits = np.split(bins, np.cumsum([len(values) for values, _, _ in pooled])[:-1])
        self._counts = [
            count_by_case(numbers, part, amounts, shape)
            for (_, amounts, numbers), part in zip(pooled, splits, strict=True)
        ]
        if resolution is not None:
            self._counts = [counts.toarray() for counts in self._counts]

    def counts(self, weights: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Lesion pixels, other pixels and region weights at each of `values`, (resamples, bins) each.

        Args:
            weights: (resamples, cases), how often each case is in a resample.
        """
        inside, outside, regions = (weights @ counts for counts in self._counts)
        return inside, outside, regions


def _pool(sketches: Sequence[Sketch]) -> tuple[Numbers, Numbers, NDArray[np.intp]]:
    """Values, amounts and case numbers of all bins of all cases."""
    lengths = [len(part.values) for part in sketches]
    values = np.concatenate([np.empty(0), *(part.values.astype(np.float64) for part in sketches)])
    amounts = np.concatenate([np.empty(0), *(part.amounts for part in sketches)])
    return values, amounts, np.repeat(np.arange(len(sketches)), lengths)


def _group_starts(values: Numbers, amounts: Numbers, resolution: int) -> Numbers:
    """Lowest value of each group of neighbouring ranks, ascending; -inf is one of them."""
    distinct, position = np.unique(values, return_inverse=True)
    first = group_by_rank(np.bincount(position.reshape(-1), weights=amounts).astype(np.float64), resolution)
    return np.concatenate([[-np.inf], distinct[first]])
