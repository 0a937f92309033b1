"""From a volume to what a detector sees: body, scale, slices."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from anomalabel.config import (
    CtWindow,
    ForegroundSettings,
    HistogramEqualisation,
    PercentileWindow,
    PreprocessingSettings,
    WaveletDenoising,
    ZScore,
)
from anomalabel.errors import ImageReadError
from anomalabel.preprocessing.denoising import denoise
from anomalabel.preprocessing.equalisation import equalise
from anomalabel.preprocessing.foreground import body_mask
from anomalabel.preprocessing.prepare import prepare_slice, prepare_volume
from anomalabel.volume import Volume

SHAPE = (40, 96, 96)
WHOLE = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))


def ellipsoid(radii, shape=SHAPE) -> np.ndarray:
    grids = np.indices(shape)
    return sum(((g - n / 2) / r) ** 2 for g, n, r in zip(grids, shape, radii, strict=True)) < 1


def overlap(mask, truth) -> float:
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def volume_of(array, spacing=2.0, **facts) -> Volume:
    return Volume(array.astype(np.float32), np.diag([spacing, spacing, spacing, 1]), source="a.nii", **facts)


def head(generator) -> tuple[np.ndarray, np.ndarray]:
    """A head of bright scalp, dark skull, grey brain and dark ventricles, without noise."""
    outer, skull, brain, ventricle = (
        ellipsoid(radii) for radii in ((18, 40, 34), (16, 38, 32), (15, 36, 30), (4, 8, 6))
    )
    array = np.where(outer, 900.0, 0.0)
    array[skull], array[brain], array[ventricle] = 60, generator.normal(400, 40, brain.sum()), 80
    return array, outer


def test_head_in_rician_noise():
    generator = np.random.default_rng(1)
    array, truth = head(generator)
    noisy = np.hypot(array + generator.normal(0, 20, SHAPE), generator.normal(0, 20, SHAPE))
    mask = body_mask(volume_of(noisy), 4.0)
    assert overlap(mask, truth) > 0.97
    assert mask[ellipsoid((4, 8, 6))].all()


def test_skull_stripped_brain_is_kept_to_its_rim():
    generator = np.random.default_rng(2)
    brain = ellipsoid((15, 36, 30))
    array = np.where(brain, np.maximum(generator.normal(400, 120, SHAPE), 1), 0)
    mask = body_mask(volume_of(array), 4.0)
    assert mask[brain].all()
    assert mask[~brain].mean() < 0.01


def test_standardised_brain_with_a_negative_background():
    generator = np.random.default_rng(3)
    brain = ellipsoid((15, 36, 30))
    array = np.where(brain, generator.normal(1, 0.5, SHAPE), -2.5)
    assert overlap(body_mask(volume_of(array), 4.0), brain) > 0.99


@pytest.mark.parametrize("modality", ["CT", ""])
def test_ct_body_with_lungs_and_without_table(modality):
    generator = np.random.default_rng(4)
    shape = (20, 128, 128)
    _, y, x = np.indices(shape)
    body = ((x - 64) / 52) ** 2 + ((y - 56) / 40) ** 2 < 1
    lung = ((np.abs(x - 64) - 22) / 14) ** 2 + ((y - 56) / 22) ** 2 < 1
    table = (np.abs(y - 97) < 1) & (np.abs(x - 64) < 55)
    array = np.where(body, 40.0, -1000.0) + generator.normal(0, 20, shape)
    array[lung], array[table] = -850, 200
    mask = body_mask(volume_of(array, spacing=1.6, modality=modality), 4.0)
    assert overlap(mask, body) > 0.98
    assert mask[lung].all()
    assert not mask[table].any()


def test_two_breasts_stay():
    generator = np.random.default_rng(5)
    _, y, x = np.indices(SHAPE)
    truth = (np.abs(np.abs(x - 48) - 22) < 15) & (np.abs(y - 48) < 30)
    noisy = np.hypot(np.where(truth, 300, 0) + generator.normal(0, 10, SHAPE), generator.normal(0, 10, SHAPE))
    assert overlap(body_mask(volume_of(noisy), 4.0), truth) > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_image_without_air_is_seen_whole(seed):
    array = np.random.default_rng(seed).normal(500, 60, (8, 40, 40))
    assert body_mask(volume_of(array), 4.0).all()


def test_gaps_narrower_than_the_setting_are_closed():
    array = np.zeros((9, 40, 40))
    array[:, 5:35, 5:19], array[:, 5:35, 20:35] = 100, 100
    assert not body_mask(volume_of(array), 0.0)[4, 20, 19]
    assert body_mask(volume_of(array), 8.0)[4, 20, 19]


def test_fine_grids_give_the_same_body():
    coarse, _ = head(np.random.default_rng(6))
    fine = np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2)[:, 1:, 1:]
    mask = body_mask(Volume(fine.astype(np.float32), np.diag([0.7, 0.7, 2.0, 1])), 4.0)
    assert mask.shape == fine.shape
    assert overlap(mask, np.repeat(np.repeat(head(np.random.default_rng(6))[1], 2, 1), 2, 2)[:, 1:, 1:]) > 0.97


@pytest.fixture(scope="module")
def large_head() -> Volume:
    shape = (182, 218, 182)
    noise = np.random.default_rng(7).normal(0, 10, shape)
    return volume_of(np.abs(np.where(ellipsoid((80, 100, 80), shape), 400, 0) + noise), spacing=1.0)


def test_a_whole_head_takes_less_than_two_seconds(large_head):
    start = time.process_time()
    body_mask(large_head, 4.0)
    assert time.process_time() - start < 2


def test_preparing_takes_at_most_four_copies_of_the_volume(large_head):
    tracemalloc.start()
    prepare_volume(large_head, PreprocessingSettings())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * large_head.array.nbytes


@pytest.mark.parametrize("intensity", [PercentileWindow(), ZScore(), CtWindow(center_hu=300, width_hu=800)])
def test_prepared_volume_is_finite_in_range_and_zero_where_unseen(intensity):
    generator = np.random.default_rng(8)
    array, truth = head(generator)
    array += np.abs(generator.normal(0, 10, SHAPE))
    array[20, 48, 48], array[0, 0, 0] = np.nan, np.inf
    prepared = prepare_volume(volume_of(array), PreprocessingSettings(intensity=intensity))
    assert prepared.scaled.dtype == np.float32
    assert np.isfinite(prepared.scaled).all()
    assert prepared.scaled.min() == 0
    assert 0.7 < prepared.scaled.max() <= 1
    assert not prepared.scaled[~prepared.seen].any()
    assert not prepared.seen[20, 48, 48]
    assert overlap(prepared.seen, truth) > 0.97


def test_without_foreground_all_finite_voxels_are_seen():
    array = np.arange(24.0).reshape(2, 3, 4)
    array[1, 1, 1] = np.nan
    prepared = prepare_volume(volume_of(array), WHOLE)
    np.testing.assert_array_equal(prepared.seen, np.isfinite(array))


@pytest.mark.parametrize("settings", [WHOLE, PreprocessingSettings()])
@pytest.mark.parametrize(("value", "message"), [(0.0, "constant"), (-7.5, r"is -7\.5"), (np.nan, "no finite")])
def test_images_that_show_nothing(settings, value, message):
    with pytest.raises(ImageReadError, match=message):
        prepare_volume(volume_of(np.full((3, 4, 5), value)), settings)


def test_constant_with_missing_voxels():
    array = np.full((3, 4, 5), 2.0)
    array[0] = np.nan
    with pytest.raises(ImageReadError, match="constant"):
        prepare_volume(volume_of(array), PreprocessingSettings())


@pytest.mark.filterwarnings("error")
def test_air_that_is_not_a_number():
    brain = ellipsoid((15, 36, 30))
    array = np.where(brain, np.random.default_rng(11).normal(400, 60, SHAPE), np.nan)
    prepared = prepare_volume(volume_of(array), PreprocessingSettings())
    np.testing.assert_array_equal(prepared.seen, brain)


def test_window_beside_the_image():
    array = np.random.default_rng(9).normal(1000, 10, (3, 8, 8))
    settings = PreprocessingSettings(intensity=CtWindow(center_hu=60, width_hu=160))
    with pytest.raises(ImageReadError, match="shows nothing in the window"):
        prepare_volume(volume_of(array), settings)


def test_a_label_map_is_seen_whole():
    array = ellipsoid((15, 36, 30)).astype(float)
    prepared = prepare_volume(volume_of(array), PreprocessingSettings())
    assert prepared.seen.all()
    np.testing.assert_array_equal(prepared.scaled, array)


def test_slices_are_denoised_before_they_are_equalised():
    image = np.random.default_rng(10).random((64, 64)).astype(np.float32)
    wavelet, histogram = WaveletDenoising(), HistogramEqualisation()
    both = PreprocessingSettings(denoising=wavelet, equalisation=histogram)
    np.testing.assert_array_equal(prepare_slice(image, both), equalise(denoise(image, wavelet), histogram))
    np.testing.assert_array_equal(prepare_slice(image, PreprocessingSettings()), image)
