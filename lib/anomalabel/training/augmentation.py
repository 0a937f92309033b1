"""Changes that leave a healthy image a healthy image of its anatomy (few_shot_localization.txt section 4.1.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.config import AugmentationSettings, ElasticDeformation
from anomalabel.training.tasks.shapes import smooth_noise
from anomalabel.volume import FloatArray

Mask = NDArray[np.bool_]
Places = NDArray[np.float64]


def augment(
    image: FloatArray, body: Mask, settings: AugmentationSettings, generator: np.random.Generator
) -> tuple[FloatArray, Mask]:
    """Mirror, turn, bend and change the contrast of a framed 2-D image at random, as far as its anatomy allows.

    Args:
        image: (side, side) float32 in [0, 1].
        body: (side, side) bool.
        settings: what is allowed, from the anatomy's config.
        generator: the only source of randomness.

    Returns:
        The image in [0, 1], and its body, moved alike. What comes from beyond the border is filled with the reflected
        image, so that no new edge appears, and is no body.
    """
    if settings.mirror_left_right and generator.random() < 0.5:
        image, body = image[:, ::-1], body[:, ::-1]
    if settings.mirror_up_down and generator.random() < 0.5:
        image, body = image[::-1], body[::-1]
    if settings.rotation_degrees > 0 or settings.elastic is not None:
        turn = _turn(settings.rotation_degrees * generator.uniform(-1, 1), image.shape)
        pixels = np.indices(image.shape, dtype=np.float64)
        if settings.elastic is not None:
            pixels += _bend(_read_body(body, turn(pixels)), settings.elastic, generator)
        places = turn(pixels)
        image = ndimage.map_coordinates(image, places, order=3, mode="reflect")
        body = _read_body(body, places)
    gain, exponent = _contrast(settings.intensity_jitter, generator)
    image = np.clip(np.clip(image, 0, 1) ** exponent * gain, 0, 1)
    return image.astype(np.float32), np.ascontiguousarray(body)


def _turn(degrees: float, shape: tuple[int, ...]) -> Callable[[Places], Places]:
    """Turns pixel places (2, H, W) about the image's centre."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    centre = (np.array(shape)[:, None, None] - 1) / 2
    return lambda places: np.tensordot(matrix, places - centre, axes=1) + centre


def _bend(body: Mask, elastic: ElasticDeformation, generator: np.random.Generator) -> Places:
    """Displacements (2, H, W), pixels; none at the body's border, since neither skull nor probe nor picture bends."""
    side = min(body.shape)
    smoothness = elastic.smoothness * side
    noise = np.stack([smooth_noise(body.shape, smoothness, generator) for _ in range(2)])
    # Without their means tissue bends in place and isn't shifted as a whole.
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    depth = ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1]
    return elastic.displacement * side * noise * np.clip((depth - 1) / smoothness, 0, 1)


def _read_body(body: Mask, places: Places) -> Mask:
    return ndimage.map_coordinates(body.astype(np.float32), places, order=1, mode="constant") >= 0.5


def _contrast(jitter: float, generator: np.random.Generator) -> tuple[float, float]:
    """Factor in 1 +- jitter and exponent in 2^(+- jitter)."""
    return 1 + jitter * generator.uniform(-1, 1), 2 ** (jitter * generator.uniform(-1, 1))
