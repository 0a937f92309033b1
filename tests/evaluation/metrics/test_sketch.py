import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalabel.evaluation.metrics.pixel_pool import RESAMPLING_RESOLUTION, PixelPool, PixelRanks
from anomalabel.evaluation.metrics.ranking import auroc, average_precision
from anomalabel.evaluation.metrics.sketch import SKETCH_RESOLUTION, sketch

NOTHING = sketch(np.empty(0))


def ranks(inside, outside):
    return PixelRanks(sketch(outside), sketch(inside), sketch(inside), 1)


def pooled(cases, resolution=None):
    inside, outside, _ = PixelPool(cases, resolution).counts(np.ones((1, len(cases))))
    return float(auroc(inside, outside)[0]), float(average_precision(inside, outside)[0])


def exact(lesions, others):
    truth = np.repeat([True, False], [sum(map(len, lesions)), sum(map(len, others))])
    values = np.nan_to_num(np.concatenate([*lesions, *others]).astype(np.float64), neginf=-1e30)
    return roc_auc_score(truth, values), average_precision_score(truth, values)


def test_few_values_are_kept_as_they_are():
    kept = sketch(np.array([3.0, 1.0, 3.0, -np.inf, 2.0]), np.array([0.5, 1.0, 0.25, 4.0, 2.0]))
    assert kept.values.tolist() == [-np.inf, 1.0, 2.0, 3.0]
    assert kept.amounts.tolist() == [4.0, 1.0, 2.0, 0.75]


def test_nothing_and_only_unseen_values():
    assert len(NOTHING.values) == len(NOTHING.amounts) == 0
    unseen = sketch(np.array([-np.inf, -np.inf]))
    assert unseen.values.tolist() == [-np.inf]
    assert unseen.amounts.tolist() == [2]


def test_the_highest_values_stay_alone_and_the_rest_is_bounded():
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    kept = sketch(values)
    highest = np.sort(values)[::-1][: SKETCH_RESOLUTION - 1]
    assert np.array_equal(kept.values[::-1][: SKETCH_RESOLUTION - 1], highest)
    assert kept.amounts.sum() == 200_000
    assert len(kept.values) < 8 * SKETCH_RESOLUTION
    assert kept.amounts.max() < 1.05 * 200_000 / (2 * SKETCH_RESOLUTION)


def test_a_value_that_fills_the_image_is_one_bin_under_its_own_name():
    values = np.concatenate([np.zeros(50_000), np.random.default_rng(1).random(5_000) + 1e-3]).astype(np.float32)
    kept = sketch(values)
    assert kept.amounts[kept.values == 0] == pytest.approx(50_000, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-50, 50), max_size=300), st.integers(0, 5))
def test_weights_are_neither_lost_nor_invented(values, unseen):
    values = np.array(values + [-np.inf] * unseen, dtype=np.float64)
    weights = np.arange(1.0, len(values) + 1)
    kept = sketch(values, weights)
    assert kept.amounts.sum() == pytest.approx(weights.sum())
    assert (np.diff(kept.values) > 0).all()


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-3, 100.0), (1e4, -5e3)])
def test_pooled_sketches_agree_with_scikit_learn_at_any_scale(scale, offset):
    rng = np.random.default_rng(5)
    lesions = [rng.normal(1 + 0.1 * case, 1, size=size) for case, size in enumerate((900, 4_000, 30))]
    others = [rng.normal(0.1 * case, 1, size=30_000) for case in range(4)]
    lesions, others = ([(part * scale + offset).astype(np.float32) for part in kind] for kind in (lesions, others))
    lesions[0][:100] = -np.inf
    cases = [ranks(lesions[case] if case < 3 else np.empty(0), others[case]) for case in range(4)]
    truth = exact(lesions, others)
    area, precision = pooled(cases)
    assert area == pytest.approx(truth[0], abs=1e-5)
    assert precision == pytest.approx(truth[1], abs=5e-5)
    assert pooled(cases, RESAMPLING_RESOLUTION) == pytest.approx(truth, abs=1e-3)


def test_a_map_of_few_levels_is_ranked_exactly():
    rng = np.random.default_rng(7)
    lesion, other = rng.integers(2, 9, 3_000).astype(np.float32), rng.integers(0, 7, 40_000).astype(np.float32)
    assert pooled([ranks(lesion, other)]) == pytest.approx(exact([lesion], [other]), abs=1e-12)


def test_the_bins_of_a_bootstrap_do_not_grow_with_the_cases():
    rng = np.random.default_rng(9)
    cases = [ranks(rng.normal(1, 1, 500), rng.normal(0, 1, 20_000)) for _ in range(30)]
    assert len(PixelPool(cases).values) > 30_000
    assert len(PixelPool(cases, RESAMPLING_RESOLUTION).values) < 4_000
