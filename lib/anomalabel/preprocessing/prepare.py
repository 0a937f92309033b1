"""A volume as the detectors want it: body told from air, intensities in [0, 1]; a slice denoised and equalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.config import PreprocessingSettings
from anomalabel.errors import ImageReadError
from anomalabel.preprocessing.denoising import denoise
from anomalabel.preprocessing.equalisation import equalise
from anomalabel.preprocessing.foreground import body_mask
from anomalabel.preprocessing.intensity import scale_intensity
from anomalabel.volume import FloatArray, Volume


@dataclass(frozen=True)
class PreparedVolume:
    """A volume ready to be cut into slices.

    Args:
        scaled: (Z, Y, X) float32 in [0, 1], 0 where unseen.
        seen: (Z, Y, X) bool, finite and body.
    """

    scaled: FloatArray
    seen: NDArray[np.bool_]


def prepare_volume(volume: Volume, settings: PreprocessingSettings) -> PreparedVolume:
    """Find the body and scale its intensities.

    Raises:
        ImageReadError: no finite voxel, all voxels equal, or all of them on one side of the CT window.
    """
    finite = np.isfinite(volume.array)
    source = volume.source or "The image"
    if not finite.any():
        raise ImageReadError(f"{source} holds no finite voxel.", "Export the image again.")
    if _is_constant(volume.array, finite):
        raise ImageReadError(
            f"{source} is constant: every voxel is {volume.array[finite][0]:g}.", "Give an image that shows something."
        )
    seen = finite
    if settings.foreground.enabled:
        body = finite & body_mask(volume, settings.foreground.closing_mm)
        seen = finite if _is_constant(volume.array, body) else body
    scaled = scale_intensity(volume.array, seen, settings.intensity)
    if _is_constant(scaled, seen):
        raise ImageReadError(
            f"{source} shows nothing in the window {settings.intensity}: all its values lie on one side.",
            "Choose the config that fits the image, or another window.",
        )
    return PreparedVolume(scaled, seen)


def prepare_slice(image: FloatArray, settings: PreprocessingSettings) -> FloatArray:
    """Denoise, then equalise, as far as the settings ask for it.

    Args:
        image: (H, W) float32 in [0, 1], 0 where unseen.

    Returns:
        (H, W) float32 in [0, 1].
    """
    prepared = denoise(image, settings.denoising) if settings.denoising else image
    return equalise(prepared, settings.equalisation) if settings.equalisation else prepared


def _is_constant(array: FloatArray, where: NDArray[np.bool_]) -> bool:
    """Whether at most one value occurs at the marked voxels."""
    if not where.any():
        return True
    return bool(array.min(initial=np.inf, where=where) == array.max(initial=-np.inf, where=where))
