"""Colour to one channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from anomalabel.volume import FloatArray

RED_GREEN_BLUE_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601 luma, which is also the Y of DICOM's YBR_FULL."""

WIDE_MODES = {"I;16", "I;16B", "I", "F"}


def luminance(channels: np.ndarray) -> FloatArray:
    """Brightness of (..., 3) red, green and blue values, in the same range: (...) float32; a fourth is dropped."""
    return channels[..., :3].astype(np.float32) @ RED_GREEN_BLUE_WEIGHTS


def brightness_over_black(channels: np.ndarray) -> FloatArray:
    """Brightness of (H, W, 3 or 4) integer channels, the fourth being opacity over black: (H, W) float32."""
    brightness = luminance(channels)
    if channels.shape[-1] == 4:
        brightness *= channels[..., 3].astype(np.float32) / np.float32(np.iinfo(channels.dtype).max)
    return brightness


def picture_brightness(picture: Image.Image) -> FloatArray:
    """(H, W) float32 brightness of a loaded Pillow image of any mode, in its own range."""
    if picture.mode in WIDE_MODES:
        return np.asarray(picture).astype(np.float32)
    if picture.mode in {"1", "L"} and "transparency" not in picture.info:
        return np.asarray(picture.convert("L")).astype(np.float32)
    return brightness_over_black(np.asarray(picture.convert("RGBA")))
