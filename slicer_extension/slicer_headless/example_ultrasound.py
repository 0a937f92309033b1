"""Made-up pictures that look a little like breast ultrasound: bent layers of tissue with fibres and speckle."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 224
BORDERS = (0.07, 0.30, 0.62)
"""Depths at which a layer ends, parts of the picture."""

BRIGHTNESS = (0.55, 0.30, 0.50, 0.25)
"""Of the layers: skin, fat, gland, muscle."""

LESION_CENTER = (0.62, 0.47)
LESION_RADII = (0.13, 0.09)


def made_up_picture(seed: int, lesion: bool = False) -> np.ndarray:
    """(SIDE, SIDE) uint8; with a dark lobed lesion in the gland and a shadow below it, where `lesion`."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    depth = y + 0.04 * np.sin(2 * np.pi * (x * generator.uniform(0.5, 1.2) + generator.uniform()))
    borders = np.array(BORDERS) * generator.uniform(0.8, 1.2)
    brightness = np.array(BRIGHTNESS) * generator.uniform(0.7, 1.3, len(BRIGHTNESS))
    tissue = gaussian_filter(brightness[np.digitize(depth, borders)], 2)
    fibres = gaussian_filter(generator.normal(size=tissue.shape), (1.5, 9))
    tissue = tissue + 0.07 * fibres / fibres.std()
    if lesion:
        tissue = _with_lesion(tissue, x, y)
    speckle = gaussian_filter(generator.rayleigh(1, tissue.shape), 0.8)
    return np.clip(204 * tissue * speckle * np.exp(-0.4 * y), 3, 255).astype(np.uint8)


def _with_lesion(tissue: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    right, down = x - LESION_CENTER[0], y - LESION_CENTER[1]
    lobes = 0.12 * np.sin(6 * np.arctan2(down, right))
    inside = np.hypot(right / LESION_RADII[0], down / LESION_RADII[1]) + lobes < 1
    shadow = (np.abs(right) < 0.1) & (down > 0.03)
    return gaussian_filter(np.where(inside, 0.2, np.where(shadow, 0.85 * tissue, tissue)), 1.2)
