"""Source deformation (few_shot_localization.txt section 5.1): tissue is pushed from a point, or drawn toward it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from anomalabel.training.tasks.change import Change
from anomalabel.training.tasks.region import Mask, draw_region
from anomalabel.volume import FloatArray

STRENGTH = (0.4, 0.8)
"""Near the point distances grow, or shrink, by up to this share."""

ROUGHNESS = (0.05, 0.15)
"""Of the outline, as `region.ROUGHNESS`, but less: tissue bends and must not fold."""


def push_from_point(image: FloatArray, body: Mask, generator: np.random.Generator) -> Change:
    """Bend an irregular region of an image around a point as a source (swelling) or a sink (shrinking) would.

    A pixel at distance d (1 on the outline) shows what lay at d * (1 -+ strength * (1 - d^2)^2), along its ray: smooth
    everywhere, still at the point and from the outline on. No new intensity appears.

    Args:
        image: (H, W) float32 in [0, 1].
        body: (H, W), not empty; nothing crosses its border.
        generator: the only source of randomness.
    """
    region = draw_region(body, generator, ROUGHNESS)
    strength = generator.uniform(*STRENGTH) * generator.choice([-1.0, 1.0])
    pixels = np.indices(image.shape, dtype=np.float32)
    rays = pixels - region.centre[:, None, None].astype(np.float32)
    moved = strength * (1 - np.minimum(region.distance, 1) ** 2) ** 2 * rays
    moved *= np.minimum(1, _room(body) / np.maximum(np.hypot(*moved), 1e-6))
    extent = ((region.distance < 1) & body).astype(np.float32)
    bent = ndimage.map_coordinates(image, pixels + moved, order=3, mode="nearest")
    return Change(np.where(extent > 0, np.clip(bent, image.min(), image.max()), image).astype(np.float32), extent)


def _room(body: Mask) -> FloatArray:
    """How far a pixel may look before it sees what is not body, pixels."""
    if body.all():
        return np.full(body.shape, np.inf, dtype=np.float32)
    return np.maximum(ndimage.distance_transform_edt(body) - 1, 0).astype(np.float32)
