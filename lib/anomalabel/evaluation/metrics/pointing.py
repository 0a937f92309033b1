"""Whether the maximum of a map lies in the lesion, and how often chance would put it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.metrics.ranking import Numbers
from anomalabel.volume import FloatArray


@dataclass(frozen=True)
class Pointing:
    """The pointing game in one abnormal case (Zhang et al., ECCV 2016).

    Args:
        hit: 1 where the maximum lies in the lesion, 0 where not; of several equal maxima the share that does.
        chance: the lesion's share of the seen pixels. Both are 0 where nothing was seen.
    """

    hit: float
    chance: float


def pointing(
    anomaly_map: FloatArray, lesion: NDArray[np.bool_] | None, true_boxes: Sequence[Box] | None
) -> Pointing | None:
    """Play it on a map (Y, X) or (Z, Y, X), NaN = unseen.

    The lesion is the mask (same shape), or without a mask the inside of the true boxes; None where there is neither.
    """
    place = lesion if lesion is not None and lesion.any() else _inside(anomaly_map.shape, true_boxes or ())
    if not place.any():
        return None
    seen = np.isfinite(anomaly_map)
    if not seen.any():
        return Pointing(0.0, 0.0)
    peaks = anomaly_map == anomaly_map[seen].max()
    return Pointing(float(place[peaks].mean()), float(place[seen].mean()))


def mean_pointing(cases: Sequence[Pointing | None], weights: Numbers) -> dict[str, Numbers]:
    """Mean over the cases whose place is known; weights (resamples, cases); NaN without such a case."""
    known = [number for number, case in enumerate(cases) if case is not None]
    values = np.array([(case.hit, case.chance) for case in cases if case is not None]).reshape(-1, 2)
    weights = weights[:, known]
    with np.errstate(invalid="ignore"):
        means = (weights @ values) / weights.sum(1, keepdims=True)
    return {"pointing_accuracy": means[:, 0], "pointing_chance": means[:, 1]}


def _inside(shape: tuple[int, ...], boxes: Sequence[Box]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=bool)
    for box in boxes:
        inside[tuple(slice(max(low, 0), high + 1) for low, high in zip(box.low, box.high, strict=True))] = True
    return inside
