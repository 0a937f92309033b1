"""Many values as a few: a map's pixels cut into bins by rank, finest at the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.metrics.ranking import Numbers
from anomalabel.volume import FloatArray

SKETCH_RESOLUTION = 512
"""Highest values that keep a bin of their own; one case of 224 x 224 pixels then needs about 3,000 bins."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """Values with how often each stands, ascending; sketches of several cases are pooled by putting them together.

    Bins follow ranks and not values, so a map may have any scale, offset or spread.

    Args:
        values: (bins,) float32, each the median of its bin; -inf for what was never seen.
        amounts: (bins,) float64, the sum of the weights in the bin.
    """

    values: FloatArray
    amounts: Numbers


def sketch(values: FloatArray | Numbers, weights: Numbers | None = None) -> Sketch:
    """The sketch of values (n,), finite or -inf, with weights (n,), 1 each unless given.

    Up to 2 * SKETCH_RESOLUTION values are kept exactly.
    """
    seen = np.isfinite(values)
    distinct, amounts, copies = _distinct(values[seen], None if weights is None else weights[seen])
    first = group_by_rank(copies, SKETCH_RESOLUTION)
    kept = _medians(distinct, copies, first)
    sums = np.add.reduceat(amounts, first) if len(first) else amounts
    if not seen.all():
        unseen = np.count_nonzero(~seen) if weights is None else weights[~seen].sum()
        kept, sums = np.concatenate([[-np.inf], kept]), np.concatenate([[unseen], sums])
    return Sketch(kept.astype(np.float32), sums)


def _distinct(values: NDArray[Any], weights: Numbers | None) -> tuple[NDArray[Any], Numbers, Numbers]:
    """Distinct values ascending, the sum of the weights of each, and how often each stands."""
    if weights is None:
        distinct, counts = np.unique(values, return_counts=True)
        copies = counts.astype(np.float64)
        return distinct, copies, copies
    distinct, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    amounts = np.bincount(position.reshape(-1), weights=weights, minlength=len(distinct))
    return distinct, amounts.astype(np.float64), counts.astype(np.float64)


def group_by_rank(copies: Numbers, resolution: int) -> NDArray[np.intp]:
    """Cut ascending distinct values into groups whose size grows with the rank counted from the top.

    The `resolution` highest ranks are alone; further down a group holds rank / resolution members, up to the total
    divided by 2 * resolution, so that a false positive count is never off by more than that share of itself. Equal
    values are never separated.

    Args:
        copies: (distinct,) how often each value stands, ascending values.
        resolution: members per doubling.

    Returns:
        (groups,) indices of the values with which groups start.
    """
    if not len(copies):
        return np.empty(0, dtype=np.intp)
    below = np.cumsum(copies) - copies
    total = below[-1] + copies[-1]
    from_top = total - below - (copies + 1) / 2
    widest = max(1.0, total / (2 * resolution))
    growing = np.clip(from_top, resolution, resolution * widest)
    group = np.floor(
        np.minimum(from_top, resolution)
        + resolution * np.log(growing / resolution)
        + np.maximum(from_top - resolution * widest, 0) / widest
    )
    return np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1])


def _medians(distinct: NDArray[Any], copies: Numbers, first: NDArray[np.intp]) -> Numbers:
    """(groups,) the median member of each group: one of its values, or the mean of the two in the middle."""
    if not len(first):
        return np.empty(0)
    reached = np.cumsum(copies)
    below = (reached - copies)[first]
    doubled_middle = below + np.append(below[1:], reached[-1])
    lower = np.searchsorted(reached, np.ceil(doubled_middle / 2), side="left")
    upper = np.searchsorted(reached, np.floor(doubled_middle / 2) + 1, side="left")
    return (distinct[lower].astype(np.float64) + distinct[upper]) / 2
