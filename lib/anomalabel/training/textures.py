"""Pictures made of nothing but chance, from which general patch features can be distilled.

Dead leaves (overlapping shapes of falling size, Lee, Mumford and Huang 2001) with textured faces have edges, corners,
occlusion and the scale statistics of natural pictures; networks that learn from them learn general features (Baradad et
al. 2021). They belong to nobody and to no hospital, so that what is distilled here favours no source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIDE = 224
LEAVES = (20, 160)
SMALLEST, LARGEST = 3.0, 70.0


def draw_texture_picture(generator: np.random.Generator) -> NDArray[np.uint8]:
    """One picture (SIDE, SIDE): dead leaves, blurred a little, in one third of the cases speckled like ultrasound."""
    picture = _surface(generator)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    faces = [_surface(generator) for _ in range(4)]
    for _ in range(generator.integers(*LEAVES)):
        inside = _leaf(rows, columns, generator)
        level, contrast = generator.uniform(0, 1), generator.uniform(0, 0.6)
        face = np.roll(faces[generator.integers(len(faces))], tuple(generator.integers(0, SIDE, 2)), (0, 1))
        picture = np.where(inside, level + contrast * (face - 0.5), picture)
    picture = ndimage.gaussian_filter(picture, generator.uniform(0, 1.5))
    if generator.random() < 1 / 3:
        speckle = ndimage.gaussian_filter(generator.rayleigh(0.8, picture.shape), generator.uniform(0.5, 1.5))
        picture = picture * speckle
    low, high = np.percentile(picture, (0.5, 99.5))
    return (np.clip((picture - low) / max(float(high - low), 1e-3), 0, 1) * 255).astype(np.uint8)


def _leaf(rows: NDArray[np.float32], columns: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.bool_]:
    """A rotated ellipse, rectangle or wavy disc; sizes follow 1 / r^3, the law of natural pictures."""
    share = generator.uniform()
    radius = (SMALLEST**-2 + share * (LARGEST**-2 - SMALLEST**-2)) ** -0.5
    centre = generator.uniform(0, SIDE, 2)
    angle, stretch = generator.uniform(0, np.pi), generator.uniform(0.3, 1)
    across = (rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle)
    along = (columns - centre[1]) * np.cos(angle) - (rows - centre[0]) * np.sin(angle)
    across /= stretch
    kind = generator.integers(3)
    if kind == 0:
        return np.maximum(np.abs(across), np.abs(along)) < radius
    wave = 1 + (0.3 * np.sin(generator.integers(2, 7) * np.arctan2(across, along)) if kind == 1 else 0)
    return np.hypot(across, along) < radius * wave


def _surface(generator: np.random.Generator) -> NDArray[np.float32]:
    """(SIDE, SIDE) in [0, 1]: noise of a random spectrum, or stripes."""
    if generator.random() < 0.25:
        rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
        turn, waves = generator.uniform(0, np.pi), generator.uniform(4, 60)
        stripes = np.sin(2 * np.pi * waves * (rows * np.cos(turn) + columns * np.sin(turn)))
        return (0.5 + 0.5 * stripes).astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) + 1 / SIDE
    spectrum = np.fft.rfft2(generator.standard_normal((SIDE, SIDE))) * frequency ** -generator.uniform(0.3, 2.2)
    noise = np.fft.irfft2(spectrum, (SIDE, SIDE))
    noise -= noise.mean()
    return np.clip(0.5 + noise / (5 * noise.std() + 1e-6), 0, 1).astype(np.float32)
