"""Windows on hand-computed numbers, equalisation and denoising by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from anomalabel.config import Clahe, CtWindow, HistogramEqualisation, PercentileWindow, WaveletDenoising, ZScore
from anomalabel.preprocessing.denoising import denoise
from anomalabel.preprocessing.equalisation import equalise
from anomalabel.preprocessing.intensity import scale_intensity


def scaled(values, settings, seen=None):
    array = np.asarray(values, np.float32)
    return scale_intensity(array, np.isfinite(array) if seen is None else np.asarray(seen), settings)


def test_ct_window():
    settings = CtWindow(center_hu=60, width_hu=160)
    np.testing.assert_allclose(scaled([-1000, -20, 20, 60, 140, 3000], settings), [0, 0, 0.25, 0.5, 1, 1])


def test_z_score():
    values = [2, 4, 4, 4, 5, 5, 7, 9]  # mean 5, standard deviation 2
    np.testing.assert_allclose(
        scaled(values, ZScore(clip_sd=2)), [0.125, 0.375, 0.375, 0.375, 0.5, 0.5, 0.75, 1], rtol=1e-6
    )
    np.testing.assert_allclose(scaled(values, ZScore(clip_sd=1)), [0, 0.25, 0.25, 0.25, 0.5, 0.5, 1, 1], rtol=1e-6)


def test_percentile():
    values = np.arange(101, dtype=np.float32)
    result = scaled(values, PercentileWindow(low=10, high=90))
    np.testing.assert_allclose(result, np.clip((values - 10) / 80, 0, 1), atol=1e-6)


def test_unseen_voxels_are_zero_and_do_not_count():
    result = scaled([np.nan, 1000, 0, 10], PercentileWindow(low=0, high=100), seen=[False, False, True, True])
    np.testing.assert_array_equal(result, [0, 0, 0, 1])


def test_a_percentile_window_without_width_falls_back_to_the_range():
    values = np.zeros(1000, np.float32)
    values[3] = 7
    result = scaled(values, PercentileWindow())
    assert (result[3], result.sum()) == (1, 1)


def test_global_equalisation_flattens_the_histogram_of_the_body():
    generator = np.random.default_rng(1)
    image = np.zeros((128, 128), np.float32)
    image[:96] = np.clip(generator.beta(2, 8, (96, 128)), 0.01, 1)
    result = equalise(image, HistogramEqualisation())
    shares = np.histogram(result[:96], bins=8, range=(0, 1))[0] / (96 * 128)
    np.testing.assert_allclose(shares, 1 / 8, atol=0.02)
    assert not result[96:].any()


def test_clahe_lifts_local_contrast_and_keeps_air_dark():
    columns = np.tile(np.linspace(0.3, 0.7, 128, dtype=np.float32), (128, 1))
    image = columns + 0.02 * (np.indices((128, 128)).sum(axis=0) % 2).astype(np.float32)
    image[:10] = 0
    result = equalise(image, Clahe(clip_limit=0.05))
    assert np.abs(np.diff(result[20:], axis=1)).mean() > 1.5 * np.abs(np.diff(image[20:], axis=1)).mean()
    assert not result[:10].any()
    assert (result.min(), result.dtype) == (0, np.float32)
    assert result.max() <= 1


@pytest.mark.parametrize("settings", [HistogramEqualisation(), Clahe()])
@pytest.mark.parametrize("image", [np.zeros((9, 9), np.float32), np.full((9, 9), 0.4, np.float32)])
def test_equalising_one_grey_value_changes_nothing(settings, image):
    np.testing.assert_array_equal(equalise(image, settings), image)


@pytest.mark.parametrize("wavelet", ["db1", "db2", "db4", "db8"])
def test_wavelets_bring_a_noisy_phantom_closer_to_the_clean_one(wavelet):
    clean = resize(shepp_logan_phantom(), (128, 128)).astype(np.float32)
    noisy = np.clip(clean + np.random.default_rng(2).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    result = denoise(noisy, WaveletDenoising(wavelet=wavelet))
    assert np.sqrt(np.mean((result - clean) ** 2)) < 0.75 * np.sqrt(np.mean((noisy - clean) ** 2))
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 40), (33, 31)])
@pytest.mark.parametrize("levels", [None, 1, 9])
def test_denoising_small_and_constant_slices(shape, levels):
    settings = WaveletDenoising(wavelet="db4", levels=levels)
    constant = np.full(shape, 0.3, np.float32)
    np.testing.assert_array_equal(denoise(constant, settings), constant)
    image = np.random.default_rng(3).random(shape).astype(np.float32)
    result = denoise(image, settings)
    assert result.shape == shape
    assert np.isfinite(result).all()
