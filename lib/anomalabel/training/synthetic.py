"""Lesions planted into healthy slices, so that the same image exists with and without disease."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.training.tasks.shapes import irregular_distance, smooth_noise

FloatImage = NDArray[np.float32]

MINIMUM_CONTRAST = 0.25
MAXIMUM_CONTRAST = 0.65
BODY_LEVEL = 0.08


def plant_lesion(image: FloatImage, generator: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    """Put one lesion of random place, size, shape and kind into a slice.

    Args:
        image: (H, W) in [0, 1].
        generator: the only source of randomness.

    Returns:
        The changed image (H, W) in [0, 1], and how much each pixel belongs to the lesion (H, W) in [0, 1].
    """
    inside = ndimage.binary_erosion(ndimage.gaussian_filter(image, 3) > BODY_LEVEL, iterations=4)
    places = np.argwhere(inside if inside.any() else np.ones_like(inside))
    centre = places[generator.integers(len(places))]
    shape = _blob(image.shape, centre, generator)
    kind = generator.choice(["intensity", "textured", "ring", "pasted"], p=[0.45, 0.25, 0.15, 0.15])
    contrast = np.float32(generator.uniform(MINIMUM_CONTRAST, MAXIMUM_CONTRAST))
    local = float((image * shape).sum() / max(shape.sum(), 1e-6))
    sign = 1.0 if local < 0.35 else -1.0 if local > 0.75 else generator.choice([-1.0, 1.0])
    if kind == "pasted":
        changed = image * (1 - shape) + shape * _elsewhere(image, generator)
        if np.abs(changed - image)[shape > 0.5].mean() < MINIMUM_CONTRAST / 2:
            changed = image + shape * np.float32(sign) * contrast
    elif kind == "ring":
        rim = np.clip(shape - ndimage.gaussian_filter(shape, 4), 0, None)
        rim /= max(float(rim.max()), 1e-6)
        changed = image + np.float32(sign) * contrast * (rim - 0.4 * shape)
    else:
        texture = smooth_noise(image.shape, 2.0, generator) * 0.15 if kind == "textured" else np.float32(0)
        changed = image + shape * (np.float32(sign) * contrast + texture)
    return np.clip(changed, 0, 1).astype(np.float32), shape


def _blob(shape: tuple[int, ...], centre: NDArray[np.int64], generator: np.random.Generator) -> FloatImage:
    """A soft-edged irregular ellipse, 3.5 to 13 percent of the image's side in radius."""
    side = min(shape)
    radii = side * generator.uniform(0.035, 0.13) * generator.uniform(0.7, 1.3, size=2)
    angle = generator.uniform(0, np.pi)
    distance = irregular_distance(shape, centre, radii, angle, 0.15, generator)
    softness = generator.uniform(0.08, 0.3)
    return (1 / (1 + np.exp(np.clip((distance - 1) / softness, -30, 30)))).astype(np.float32)


def _elsewhere(image: FloatImage, generator: np.random.Generator) -> FloatImage:
    """The image moved and flipped, as paste source (CutPaste, few_shot_localization.txt section 5.1)."""
    shift = generator.integers(image.shape[0] // 8, image.shape[0] // 2, size=2)
    return np.roll(image[:, ::-1], tuple(int(step) for step in shift), axis=(0, 1))
