"""How much a map depends on its prompt; SciPy's Spearman correlation is the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from anomalabel.attention.specificity import CONTROL_TEXTS, prompt_specificity, rank_correlation

VALUES = arrays(np.float32, st.shared(st.integers(3, 40), key="patches"), elements=st.integers(-9, 9).map(float))


@given(VALUES, VALUES)
def test_rank_correlation_is_scipys(first, second):
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert rank_correlation(first, second) == 1.0
    else:
        assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)


def test_specificity_by_hand():
    prompted = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    controls = np.array([[10, 20, 30, 40], [40, 30, 20, 10], [1, 3, 2, 4]], dtype=np.float32)
    assert prompt_specificity(prompted, controls[:1]) == pytest.approx(0)
    assert prompt_specificity(prompted, controls[1:2]) == pytest.approx(2)
    assert prompt_specificity(prompted, controls[2:]) == pytest.approx(1 - 0.8)
    assert prompt_specificity(prompted, controls) == pytest.approx((0 + 2 + 0.2) / 3)


def test_specificity_looks_at_ranks_alone():
    prompted = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    assert prompt_specificity(prompted, np.exp(prompted)[np.newaxis]) == pytest.approx(0)


def test_a_flat_map_counts_as_unspecific():
    ramp = np.arange(4, dtype=np.float32)
    assert prompt_specificity(np.ones(4, dtype=np.float32), ramp[np.newaxis]) == 0
    assert prompt_specificity(ramp, np.ones((2, 4), dtype=np.float32)) == 0
    assert prompt_specificity(np.ones(1, dtype=np.float32), np.ones((2, 1), dtype=np.float32)) == 0


def test_controls_are_nothing_and_nonsense():
    empty, nonsense = CONTROL_TEXTS
    assert empty == ""
    assert len(nonsense.split()) == 5
