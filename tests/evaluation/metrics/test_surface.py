import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from anomalabel.evaluation.metrics import compute_metrics
from anomalabel.evaluation.metrics.surface import surface_distances


def square(shape, rows, columns):
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


LESION = square((20, 30), slice(5, 9), slice(5, 9))


def test_two_single_pixels_by_hand():
    first, second = square((10, 10), 2, 2), square((10, 10), 5, 6)
    distances = surface_distances(first, second)
    # 3 down and 4 across
    assert (distances.hausdorff, distances.hd95, distances.boundary_f1) == (5.0, 5.0, 0.0)


def test_a_shifted_square_by_hand():
    distances = surface_distances(square((20, 30), slice(5, 9), slice(8, 12)), LESION)
    # the far column is 3 away; within 2 pixels are all but it, 8 of the outline's 12 pixels, both ways
    assert distances.hausdorff == 3
    assert distances.hd95 == 3
    assert distances.boundary_f1 == pytest.approx(8 / 12)


def test_boundary_f1_is_the_harmonic_mean_of_both_ways():
    predicted = LESION | square((20, 30), 15, 20)
    # one of 13 predicted outline pixels is far off, all 12 true ones are met
    assert surface_distances(predicted, LESION).boundary_f1 == pytest.approx(2 * (12 / 13) / (12 / 13 + 1))


def test_a_perfect_prediction():
    distances = surface_distances(LESION, LESION)
    assert (distances.hausdorff, distances.hd95, distances.boundary_f1) == (0.0, 0.0, 1.0)


def test_a_lesion_and_nothing_predicted_is_as_far_as_the_image_is_wide():
    distances = surface_distances(np.zeros_like(LESION), LESION)
    # pixel centres (0, 0) and (19, 29)
    assert distances.hausdorff == distances.hd95 == pytest.approx(np.hypot(19, 29))
    assert distances.boundary_f1 == 0


@pytest.mark.parametrize("predicted", [LESION, np.zeros_like(LESION)])
def test_no_lesion_is_not_counted(predicted):
    assert surface_distances(predicted, np.zeros_like(LESION)) is None


def test_one_slice_counts_as_a_picture():
    predicted = square((20, 30), slice(4, 12), slice(6, 15))
    assert surface_distances(predicted[None], LESION[None]) == surface_distances(predicted, LESION)


@pytest.mark.parametrize("shape", [(30, 26), (6, 14, 12)])
def test_distances_agree_with_monai(shape):
    rng = np.random.default_rng(1)
    predicted, lesion = rng.random(shape) < 0.02, rng.random(shape) < 0.02
    distances = surface_distances(predicted, lesion)
    one_hot = [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (predicted, lesion)]
    for value, percentile in ((distances.hausdorff, None), (distances.hd95, 95)):
        expected = compute_hausdorff_distance(*one_hot, include_background=True, percentile=percentile)
        assert value == pytest.approx(float(expected), rel=1e-5)


def test_means_are_over_images_with_a_lesion(summary, thresholds):
    anomaly_map = square((10, 10), 2, 2).astype(float)
    off_by_five = summary(True, 1, anomaly_map, square((10, 10), 5, 6), identity="off")
    perfect = summary(True, 1, anomaly_map, square((10, 10), 2, 2), identity="perfect")
    healthy = summary(False, 1, anomaly_map, identity="healthy")
    values = compute_metrics([off_by_five, perfect, healthy], thresholds)
    assert values["pixel_hausdorff"] == values["pixel_hd95"] == 2.5
    assert values["pixel_boundary_f1"] == 0.5
