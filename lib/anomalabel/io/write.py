"""Results on disk: heatmaps as NRRD and texts, each whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nrrd
import numpy as np

from anomalabel.errors import OutputError
from anomalabel.volume import LPS_FROM_RAS, FloatArray, Matrix

COMPRESSION_LEVEL = 4
"""Beyond this gzip takes much longer and saves little on floating-point maps."""

COMPACT_UNSEEN = 0
COMPACT_TOP = 255


def write_heatmap(path: Path, anomaly_map: FloatArray, affine_ras: Matrix) -> None:
    """Write an anomaly map as float32 NRRD in LPS space, gzip; unseen voxels stay NaN.

    Args:
        path: ends in .nrrd; an existing file is replaced in one step.
        anomaly_map: (Z, Y, X); a 2-D image has Z = 1.
        affine_ras: (4, 4) index (i, j, k) to RAS millimetres.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    _write_nrrd(path, np.asarray(anomaly_map, dtype=np.float32), affine_ras)


def write_compact_heatmap(path: Path, anomaly_map: FloatArray, affine_ras: Matrix) -> tuple[float, float]:
    """Write an anomaly map as uint8 NRRD: value = slope * stored + intercept; stored 0 is unseen.

    Args: as `write_heatmap`.

    Returns:
        (slope, intercept); the values 1 to 255 span the map's range, so the error is at most slope / 2.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    values = np.asarray(anomaly_map, dtype=np.float32)
    seen = np.isfinite(values)
    low, high = (float(values[seen].min()), float(values[seen].max())) if seen.any() else (0.0, 0.0)
    slope = (high - low) / (COMPACT_TOP - 1) or 1.0
    intercept = low - slope
    stored = np.zeros(values.shape, dtype=np.uint8)
    stored[seen] = np.clip(np.rint((values[seen] - intercept) / slope), 1, COMPACT_TOP).astype(np.uint8)
    _write_nrrd(path, stored, affine_ras)
    return slope, intercept


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place on success and vanishes on failure.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}.", "Choose a folder that is there and writable."
        ) from error


def _write_nrrd(path: Path, array: np.ndarray, affine_ras: Matrix) -> None:
    affine_lps = LPS_FROM_RAS @ affine_ras
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,
        "space origin": affine_lps[:3, 3],
        "kinds": ["domain", "domain", "domain"],
        "encoding": "gzip",
    }
    with replacing(path) as temporary:
        nrrd.write(str(temporary), array, header, compression_level=COMPRESSION_LEVEL, index_order="C")
