"""The head of the pictures: nilearn's packaged T1 template with a planted lesion, and a made-up result for it."""

from __future__ import annotations

import json
import tempfile
import uuid
from importlib.resources import files
from pathlib import Path

import nibabel
import nrrd
import numpy as np

TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
LESION_CENTER_RAS = (30.0, -18.0, 34.0)
LESION_RADII_MM = (11.0, 14.0, 10.0)
LESION_GAIN = 0.55
SEEN_FROM = 0.05
"""Part of the largest intensity from which on a voxel counts as body."""


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


def example_result(voxels: np.ndarray, affine_ras: np.ndarray) -> tuple[bytes, str]:
    """NRRD bytes of a heatmap that knows where the lesion is, and the findings JSON that goes with it."""
    waves = np.sin(np.indices(voxels.shape) / 10.0).prod(axis=0).astype(np.float32)
    heatmap = np.float32(1.1) * lesion_profile(voxels.shape, affine_ras) - np.float32(0.25) + np.float32(0.12) * waves
    heatmap[voxels < SEEN_FROM * voxels.max()] = np.nan
    return _nrrd(heatmap, affine_ras), json.dumps(_report(heatmap, affine_ras))


def _nrrd(heatmap: np.ndarray, affine_ras: np.ndarray) -> bytes:
    header = {
        "space": "right-anterior-superior",
        "space directions": affine_ras[:3, :3].T,
        "space origin": affine_ras[:3, 3],
        "encoding": "gzip",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heatmap.nrrd"
        nrrd.write(str(path), np.ascontiguousarray(heatmap.T), header, index_order="F")
        return path.read_bytes()


def _report(heatmap: np.ndarray, affine_ras: np.ndarray) -> dict:
    threshold = 0.3
    region = np.argwhere(heatmap > threshold)[:, ::-1]
    low, high = region.min(axis=0), region.max(axis=0)
    spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
    center = (affine_ras @ np.append((low + high) / 2, 1.0))[:3]
    peak = np.unravel_index(np.nanargmax(heatmap), heatmap.shape)[::-1]
    finding = {
        "id": str(uuid.UUID(int=1)),
        "label": "anomaly",
        "score": float(np.nanmax(heatmap)),
        "mean_score": float(heatmap[heatmap > threshold].mean()),
        "uncertainty": None,
        "volume_mm3": float(len(region) * spacing.prod()),
        "peak_index": [int(value) for value in peak],
        "index_min": low.tolist(),
        "index_max": high.tolist(),
        "center_ras": center.tolist(),
        "center_lps": (center * [-1, -1, 1]).tolist(),
        "size_mm": ((high - low + 1) * spacing).tolist(),
        "axes_ras": (affine_ras[:3, :3] / spacing).T.tolist(),
    }
    return {
        "schema": "anomalabel.findings/1",
        "image": "example head",
        "method": "clap",
        "model": {"name": "made-up example", "weights_sha256": "0" * 64},
        "config": "brain_mri",
        "prompts": {"positive": [], "negative": []},
        "image_score": finding["score"],
        "calibrated": False,
        "threshold": {"value": threshold, "rule": "made up"},
        "prompt_specificity": None,
        "nonfinite_voxels": 0,
        "spacing_known": True,
        "heatmap": {
            "grid": list(heatmap.shape[::-1]),
            "min": float(np.nanmin(heatmap)),
            "max": float(np.nanmax(heatmap)),
            "slope": None,
            "intercept": None,
        },
        "findings": [finding],
        "warnings": [],
    }
