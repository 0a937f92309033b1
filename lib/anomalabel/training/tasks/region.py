"""Where in the body a synthetic anomaly lies, how large it is and how irregular."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.training.tasks.shapes import irregular_distance
from anomalabel.volume import FloatArray

Mask = NDArray[np.bool_]

DIAMETERS = (0.03, 0.30)
"""Longest diameter of an anomaly, shares of the image's shorter side: a nodule to a mass; evenly drawn."""

FLATTEST = 0.5
"""The shorter diameter is at least this share of the longest one."""

ROUGHNESS = (0.1, 0.3)
"""The outline wanders by this share of its radius (standard deviation)."""


@dataclass(frozen=True)
class Region:
    """One irregular place in an image.

    Args:
        centre: (row, column), pixels, inside the body.
        diameter: the longest one, pixels.
        distance: (H, W) from the centre, at least 0; 1 on the outline.
    """

    centre: NDArray[np.int64]
    diameter: float
    distance: FloatArray


def draw_region(body: Mask, generator: np.random.Generator, roughness: tuple[float, float] = ROUGHNESS) -> Region:
    """Draw place, size, flatness, direction and outline; body (H, W) holds at least one pixel."""
    centre = draw_place(body, generator)
    diameter = min(body.shape) * generator.uniform(*DIAMETERS)
    radii = diameter / 2 * np.array([1.0, generator.uniform(FLATTEST, 1)])
    angle, wandering = generator.uniform(0, np.pi), generator.uniform(*roughness)
    distance = irregular_distance(body.shape, centre, radii, angle, wandering, generator)
    return Region(centre, diameter, np.maximum(distance, 0).astype(np.float32))


def draw_place(allowed: Mask, generator: np.random.Generator) -> NDArray[np.int64]:
    """(row, column) of one of the allowed pixels, each as likely."""
    places = np.flatnonzero(allowed)
    return np.array(np.unravel_index(places[generator.integers(len(places))], allowed.shape))
