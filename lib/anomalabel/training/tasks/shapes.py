"""Irregular shapes and smooth noise, of which planted lesions and synthetic anomalies are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.volume import FloatArray


def irregular_distance(
    shape: tuple[int, ...],
    centre: NDArray[np.int64],
    radii: NDArray[np.float64],
    angle: float,
    roughness: float,
    generator: np.random.Generator,
) -> FloatArray:
    """Distance from a centre in units of an ellipse's radii, roughened, so that 1 is an irregular outline.

    Args:
        shape: (H, W) of the image.
        centre: (row, column), pixels.
        radii: (2,) of the ellipse, pixels.
        angle: by which the ellipse is turned, radians.
        roughness: standard deviation of the noise that is added to the distance; half a radius smooth.
        generator: draws the noise.

    Returns:
        (H, W) float32 or float64; with roughness it may fall below 0 near the centre.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    rows, columns = rows - centre[0], columns - centre[1]
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    distance = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2)
    distance += smooth_noise(shape, float(radii.mean()) / 2 + 1, generator) * roughness
    return distance


def smooth_noise(shape: tuple[int, ...], smoothness: float, generator: np.random.Generator) -> FloatArray:
    """Noise (H, W) of unit standard deviation; smoothness: sd of the Gaussian it is smoothed with, pixels."""
    noise = ndimage.gaussian_filter(generator.standard_normal(shape).astype(np.float32), smoothness)
    return noise / max(float(noise.std()), 1e-6)
