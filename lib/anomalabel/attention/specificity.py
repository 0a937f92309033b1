"""Whether a map depends on its prompt at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

CONTROL_TEXTS = ("", "the quick xylophone of tuesday")
"""What a prompt is compared with: nothing, and nonsense."""


def prompt_specificity(prompted: NDArray[np.float32], controls: NDArray[np.float32]) -> float:
    """Mean of 1 - Spearman's rank correlation between a map and those of the control texts.

    Args:
        prompted: (P,) map values of the positive prompt over the patches that were seen.
        controls: (K, P) map values of the control texts over the same patches.

    Returns:
        0 = the map does not depend on its prompt; 1 = unrelated; up to 2 = reversed. A map or control that is
        constant has no ranking and counts as 0.
    """
    values = [1 - rank_correlation(prompted, control) for control in controls]
    return float(np.mean(values))


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two (P,) arrays; 1 where one of them is constant."""
    ranks = [rankdata(values) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 1.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
