"""The head of the pictures: nilearn's packaged T1 template, and the same with a planted lesion."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np

TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
LESION_CENTER_RAS = (30.0, -18.0, 34.0)
LESION_RADII_MM = (11.0, 14.0, 10.0)
LESION_GAIN = 0.55


def load_head(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) float32 voxels and the (4, 4) index-to-RAS matrix of a NIfTI file."""
    image = nibabel.load(path)
    return np.ascontiguousarray(image.get_fdata(dtype=np.float32).T), image.affine


def template_head() -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) float32 voxels, 0 to 255, of the healthy template, and the (4, 4) index-to-RAS matrix, 1 mm voxels."""
    return load_head(Path(str(files("nilearn") / "datasets" / "data" / TEMPLATE)))


def planted_head() -> tuple[np.ndarray, np.ndarray]:
    """The same with the lesion."""
    voxels, affine_ras = template_head()
    lesion = lesion_profile(voxels.shape, affine_ras) > 0.5
    return np.where(lesion, voxels * np.float32(LESION_GAIN), voxels), affine_ras


def lesion_profile(shape: tuple[int, int, int], affine_ras: np.ndarray) -> np.ndarray:
    """(Z, Y, X) float32: 1 in the lesion's middle, 0.5 at its border, 0 far away."""
    k, j, i = np.indices(shape)
    points = np.stack([i, j, k], axis=-1) @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    distance = np.linalg.norm((points - LESION_CENTER_RAS) / LESION_RADII_MM, axis=-1)
    return np.exp2(-(distance**2)).astype(np.float32)
