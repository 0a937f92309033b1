"""Results as a server would send them, made without the code under test: pynrrd and plain numpy."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path

import nrrd
import numpy as np
import slicer
import vtk

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine(rotation_deg: tuple[float, float, float], spacing, origin, flips=(1, 1, 1)) -> np.ndarray:
    """(4, 4) index (i, j, k) to RAS, from Euler angles, spacings, origin and the sign of each axis."""
    matrix = np.eye(4)
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(rotation_deg)):
        step = np.eye(3)
        first, second = [(1, 2), (0, 2), (0, 1)][axis]
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    matrix[:3, :3] = turn * np.array(spacing) * np.array(flips)
    matrix[:3, 3] = origin
    return matrix


def volume_node(scene, array: np.ndarray, affine_ras: np.ndarray, name: str = "Head"):
    """A volume node with voxels (Z, Y, X) at the place that the affine says."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, array)
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, affine_ras[row, column])
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    return node


def nrrd_bytes(array: np.ndarray, affine_ras: np.ndarray) -> bytes:
    """A gzip NRRD file of voxels (Z, Y, X)."""
    affine_lps = LPS_FROM_RAS @ affine_ras
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,
        "space origin": affine_lps[:3, 3],
        "encoding": "gzip",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heatmap.nrrd"
        nrrd.write(str(path), np.ascontiguousarray(array.T), header, index_order="F")
        return path.read_bytes()


def finding(
    affine_ras: np.ndarray, index_min, index_max, peak=None, score: float = 0.9, label: str = "anomaly"
) -> dict:
    """A finding of the report; its world box is computed from the affine alone."""
    low, high = np.array(index_min), np.array(index_max)
    spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
    center = (affine_ras @ np.append((low + high) / 2, 1))[:3]
    size = (high - low + 1) * spacing
    peak = (low + high) // 2 if peak is None else peak
    return {
        "id": str(uuid.uuid4()),
        "label": label,
        "score": score,
        "mean_score": score / 2,
        "uncertainty": None,
        "volume_mm3": float(size.prod()),
        "peak_index": [int(value) for value in peak],
        "index_min": low.tolist(),
        "index_max": high.tolist(),
        "center_ras": center.tolist(),
        "center_lps": (center * [-1, -1, 1]).tolist(),
        "size_mm": size.tolist(),
        "axes_ras": (affine_ras[:3, :3] / spacing).T.tolist(),
    }


def report(heatmap: np.ndarray, findings: list[dict], threshold: float = 0.4, **changes) -> dict:
    """A whole report on a heatmap (Z, Y, X) with NaN where nothing was seen."""
    values = {
        "schema": "anomalabel.findings/1",
        "image": "Head",
        "method": "clap",
        "model": {"name": "embedded", "weights_sha256": "0" * 64},
        "config": "brain_mri",
        "prompts": {"positive": ["Glioma"], "negative": ["Normal"]},
        "image_score": float(np.nanmax(heatmap)),
        "calibrated": False,
        "threshold": {"value": threshold, "rule": "mean + 0.674 sd"},
        "prompt_specificity": 0.7,
        "nonfinite_voxels": 0,
        "spacing_known": True,
        "heatmap": {
            "grid": list(heatmap.shape[::-1]),
            "min": float(np.nanmin(heatmap)),
            "max": float(np.nanmax(heatmap)),
            "slope": None,
            "intercept": None,
        },
        "findings": findings,
        "warnings": [],
    }
    return {**values, **changes}


def inference_result(
    heatmap: np.ndarray,
    affine_ras: np.ndarray,
    findings: list[dict],
    maps: dict[str, bytes] | None = None,
    **changes,
):
    """What `Client.infer` returns for a heatmap (Z, Y, X), its findings and the files of further maps, by kind."""
    from AnomaLabelLib.server.client import InferenceResult
    from AnomaLabelLib.server.report import parse_report

    text = json.dumps(report(heatmap, findings, **changes))
    views = {kind: memoryview(content) for kind, content in (maps or {}).items()}
    return InferenceResult(parse_report(text), memoryview(nrrd_bytes(heatmap, affine_ras)), views)
