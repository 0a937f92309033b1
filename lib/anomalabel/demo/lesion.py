"""A lesion planted into a head, so that the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import nibabel.nifti1
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from anomalabel.volume import FloatArray, Matrix

TEMPLATE = "mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
WHITE_MATTER_PROBABILITY = 0.9
MINIMUM_DEPTH_MM = 7.0
BYTE = 255.0


@dataclass(frozen=True)
class LesionSettings:
    """Shape and contrast of the lesion.

    Args:
        radii_mm: half axes of the ellipsoid along the image's i, j and k.
        edge_mm: width over which it fades out.
        contrast_sd: how much brighter (negative: darker) it is, in standard deviations of white matter.
        seed: of the place, drawn among the voxels deep in white matter.
    """

    radii_mm: tuple[float, float, float] = (11.0, 13.0, 10.0)
    edge_mm: float = 2.0
    contrast_sd: float = -12.0
    seed: int = 0


@dataclass(frozen=True)
class Head:
    """The MNI ICBM152 T1 template of the nilearn package: an average brain, its skull removed.

    Args:
        t1: (X, Y, Z) float32, 0 to 255.
        white_matter: (X, Y, Z) float32 probability.
        affine_ras: (4, 4), 1 mm voxels.
    """

    t1: FloatArray
    white_matter: FloatArray
    affine_ras: Matrix


@dataclass(frozen=True)
class PlantedLesion:
    """A head with its lesion.

    Args:
        t1: (X, Y, Z) float32, 0 to 255.
        truth: (X, Y, Z) bool, where more than half of the contrast was added.
        center_ras: of the ellipsoid, millimetres.
    """

    t1: FloatArray
    truth: NDArray[np.bool_]
    center_ras: tuple[float, float, float]


def load_head() -> Head:
    """Read the template that ships inside the nilearn package; no network."""
    folder = files("nilearn") / "datasets" / "data"
    images = {tissue: nibabel.nifti1.load(str(folder / TEMPLATE.format(tissue=tissue))) for tissue in ("t1", "wm")}
    t1, white = (np.asarray(images[tissue].dataobj, dtype=np.float32) for tissue in ("t1", "wm"))
    return Head(t1, white / np.float32(BYTE), np.asarray(images["t1"].affine, dtype=np.float64))


def plant_lesion(head: Head, settings: LesionSettings | None = None) -> PlantedLesion:
    """Add a soft-edged ellipsoid to white matter; the tissue's own texture stays.

    Args:
        head: with at least one voxel `MINIMUM_DEPTH_MM` deep in white matter.
        settings: the defaults where None.

    Returns:
        values stay within 0 to 255.
    """
    chosen = settings or LesionSettings()
    spacing = np.linalg.norm(head.affine_ras[:3, :3], axis=0)
    depth = distance_transform_edt(head.white_matter > 0.5, sampling=spacing)
    candidates = np.argwhere(depth > MINIMUM_DEPTH_MM)
    center = candidates[np.random.default_rng(chosen.seed).integers(len(candidates))]
    weight = ellipsoid_weight(head.t1.shape, center, spacing, chosen)
    tissue_sd = head.t1[head.white_matter > WHITE_MATTER_PROBABILITY].std()
    t1 = np.clip(head.t1 + weight * np.float32(chosen.contrast_sd * tissue_sd), 0, BYTE).astype(np.float32)
    x, y, z = (float(value) for value in apply_affine(head.affine_ras, center))
    return PlantedLesion(t1, weight > 0.5, (x, y, z))


def ellipsoid_weight(
    shape: tuple[int, ...], center: NDArray[np.int_], spacing: NDArray[np.float64], settings: LesionSettings
) -> FloatArray:
    """(X, Y, Z) in [0, 1]: 1 inside, 0 outside, a smooth step of `edge_mm` at the surface (where it is 0.5)."""
    radii = np.asarray(settings.radii_mm)
    offsets = [
        (np.arange(length) - middle) * step / radius
        for length, middle, step, radius in zip(shape, center, spacing, radii, strict=True)
    ]
    radius = np.sqrt(sum(grid**2 for grid in np.ix_(*offsets)))
    outside_mm = (radius - 1) * radii.min()
    position = np.clip(0.5 - outside_mm / settings.edge_mm, 0, 1)
    return (position**2 * (3 - 2 * position)).astype(np.float32)
