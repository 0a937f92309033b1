"""Histogram equalisation of a slice, global or adaptive."""

from __future__ import annotations

import numpy as np
from skimage.exposure import equalize_adapthist, equalize_hist

from anomalabel.config import Clahe, Equalisation, HistogramEqualisation
from anomalabel.volume import FloatArray


def equalise(image: FloatArray, settings: Equalisation) -> FloatArray:
    """Spread the grey values of the body evenly; air (exactly 0) stays 0.

    Args:
        image: (H, W) float32 in [0, 1], 0 where unseen.
        settings: global histogram equalisation, or CLAHE (Zuiderveld 1994).

    Returns:
        (H, W) float32 in [0, 1]; a slice of one grey value comes back unchanged.
    """
    body = image > 0
    if not body.any() or image[body].min() == image[body].max():
        return image
    match settings:
        case HistogramEqualisation():
            equalised = equalize_hist(image, nbins=settings.bins, mask=body)
        case Clahe():
            tile = [max(length // settings.tiles, 1) for length in image.shape]
            equalised = equalize_adapthist(image, kernel_size=tile, clip_limit=settings.clip_limit)
    return np.where(body, np.clip(equalised, 0.0, 1.0), 0.0).astype(np.float32)
