"""Wavelet denoising of a slice."""

from __future__ import annotations

import numpy as np
import pywt
from skimage.restoration import denoise_wavelet

from anomalabel.config import WaveletDenoising
from anomalabel.volume import FloatArray

COARSEST_LEVELS_KEPT = 3
"""Levels left untouched: they hold anatomy, hardly any noise."""


def denoise(image: FloatArray, settings: WaveletDenoising) -> FloatArray:
    """Soft-threshold Daubechies coefficients; BayesShrink, since it adapts the threshold to each band's own noise.

    Args:
        image: (H, W) float32 in [0, 1].

    Returns:
        (H, W) float32 in [0, 1]; unchanged where the slice is constant or too small for the wavelet.
    """
    possible = pywt.dwtn_max_level(image.shape, settings.wavelet)
    levels = min(settings.levels or max(possible - COARSEST_LEVELS_KEPT, 1), possible)
    if levels < 1 or image.min() == image.max():
        return image
    denoised = denoise_wavelet(
        image, wavelet=settings.wavelet, mode="soft", method="BayesShrink", wavelet_levels=levels, rescale_sigma=False
    )
    return np.clip(denoised, 0.0, 1.0).astype(np.float32)
