"""MSGMS as papers and scikit-image's users write it: slow, obvious, float64, one image and one scale after another."""

import numpy as np
from scipy.ndimage import convolve
from skimage.measure import block_reduce

PREWITT = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]]) / 3


def reference_map(image, restored, scales, constant):
    """(side, side) float64 of two images of that shape (clap.txt eq. 3)."""
    image, restored = np.asarray(image, dtype=np.float64), np.asarray(restored, dtype=np.float64)
    side = len(image)
    total = np.zeros((side, side))
    for _ in range(scales):
        first, second = gradient(image), gradient(restored)
        total += enlarged(1 - (2 * first * second + constant) / (first**2 + second**2 + constant), side)
        whole = len(image) // 2 * 2
        image = block_reduce(image[:whole, :whole], (2, 2), np.mean)
        restored = block_reduce(restored[:whole, :whole], (2, 2), np.mean)
    return total


def gradient(image):
    """(h, w) magnitude, the outermost pixels repeated beyond the border."""
    across, down = (convolve(image, kernel, mode="nearest") for kernel in (PREWITT, PREWITT.T))
    return np.sqrt(across**2 + down**2 + 1e-12)


def enlarged(values, side):
    """(side, side) bilinear, pixel centres half a pixel inside the borders, one row and one column after another."""
    place = (np.arange(side) + 0.5) * len(values) / side - 0.5
    known = np.arange(len(values))
    rows = np.stack([np.interp(place, known, column) for column in values.T], axis=1)
    return np.stack([np.interp(place, known, row) for row in rows])
