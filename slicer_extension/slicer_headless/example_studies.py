"""Made-up studies: healthy pictures and heads to learn from, and cases with and without a lesion."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from .example_head import planted_head, template_head
from .example_ultrasound import made_up_picture

HEALTHY_PICTURES, HEALTHY_HEADS = "healthy-pictures", "healthy-heads"
SHOTS = 16
HEADS = 4
SEEDS_WITH_LESION = {"breast_1": 99, "breast_3": 71, "breast_4": 55}
SEEDS_WITHOUT = {"breast_2": 42, "breast_5": 17}
HEAD = "head_1"
DEFORMATION_MM = 3.0
DEFORMATION_SMOOTHNESS = 14.0


def make_studies(folder: Path) -> None:
    """Fill a folder with cases, and with two folders of healthy images to train from."""
    pictures, heads = folder / HEALTHY_PICTURES, folder / HEALTHY_HEADS
    pictures.mkdir(parents=True)
    heads.mkdir()
    for seed in range(SHOTS):
        Image.fromarray(made_up_picture(seed)).save(pictures / f"{seed}.png")
    for seeds, lesion in ((SEEDS_WITH_LESION, True), (SEEDS_WITHOUT, False)):
        for name, seed in seeds.items():
            Image.fromarray(made_up_picture(seed, lesion=lesion)).save(folder / f"{name}.png")
    voxels, affine_ras = template_head()
    for seed in range(HEADS):
        _save(another_head(voxels, seed), affine_ras, heads / f"{seed}.nii.gz")
    _save(another_head(planted_head()[0], HEADS), affine_ras, folder / f"{HEAD}.nii.gz")


def another_head(voxels: np.ndarray, seed: int) -> np.ndarray:
    """(Z, Y, X) float32: the same head bent a little, with noise and a smooth change of brightness."""
    generator = np.random.default_rng(seed)
    bends = [gaussian_filter(generator.normal(size=voxels.shape), DEFORMATION_SMOOTHNESS) for _axis in range(3)]
    places = [
        place + DEFORMATION_MM * bend / np.abs(bend).max()
        for place, bend in zip(np.indices(voxels.shape, np.float32), bends, strict=True)
    ]
    bent = map_coordinates(voxels, places, order=1)
    field = gaussian_filter(generator.normal(size=voxels.shape), 2 * DEFORMATION_SMOOTHNESS)
    noise = generator.normal(scale=0.01 * voxels.max(), size=voxels.shape)
    return (np.maximum(0, bent * (1 + 0.08 * field / np.abs(field).max()) + noise * (bent > 0))).astype(np.float32)


def _save(voxels: np.ndarray, affine_ras: np.ndarray, path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels.T, affine_ras), path)
