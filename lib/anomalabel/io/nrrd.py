"""NRRD: attached (.nrrd) and detached (.nhdr) headers."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np

from anomalabel.errors import ImageReadError
from anomalabel.io.colour import luminance
from anomalabel.io.damage import parsing
from anomalabel.io.limits import read_exactly, read_to_end, require_file_bytes, require_memory
from anomalabel.volume import LPS_FROM_RAS, Matrix, Volume

NRRD_MAGIC = b"NRRD000"
COLOUR_KINDS = {"RGB-color": 3, "RGBA-color": 4, "3-color": 3, "4-color": 4}
LPS_FROM_SPACE = {
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
"""Signs that take a space to LPS; any other space is read as LPS, as ITK does."""

Header = dict[str, Any]

OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "gz": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": bz2.BZ2File,
    "bz2": bz2.BZ2File,
}


def read_nrrd(path: Path) -> Volume:
    """Read a scalar or colour NRRD image of two or three spatial axes; its affine agrees with SimpleITK's.

    Raises:
        ImageReadError: damaged header, truncated or corrupt data, more voxels than memory, a vector or time axis,
            or a data file outside the header's folder.
    """
    with path.open("rb") as stream, parsing(path):
        header = nrrd.read_header(stream)
        stored = _stored(header, stream, path)
    spatial = _spatial_axes(header, path)
    if stored.ndim > len(spatial):
        channel_axis = next(axis for axis in range(stored.ndim) if axis not in spatial)
        stored = luminance(np.moveaxis(stored, stored.ndim - 1 - channel_axis, -1))
    if len(spatial) == 2:
        stored = stored[np.newaxis]
    with parsing(path):
        affine, spacing_known = _affine(header, spatial)
    return Volume(
        array=stored.astype(np.float32),
        affine_ras=affine,
        source=str(path),
        spacing_known=spacing_known,
        spatial_dims=len(spatial),
    )


def _stored(header: Header, stream: BinaryIO, path: Path) -> np.ndarray:
    """Voxels as stored, axes slowest first."""
    sizes = [int(length) for length in header["sizes"]]
    if not sizes or min(sizes) < 1 or len(sizes) > 4:
        raise ImageReadError(f"{path} has axes of lengths {sizes}.", "Give one image of two or three spatial axes.")
    dtype = nrrd.reader._determine_datatype(header)
    shape = tuple(sizes[::-1])
    require_memory(int(np.prod(shape, dtype=object)), dtype.itemsize, path)
    detached = header.pop("data file", header.pop("datafile", None))
    if detached is None:
        return _decoded(header, stream, shape, dtype, path)
    data_path = _detached_path(str(detached), path)
    with data_path.open("rb") as data_stream:
        return _decoded(header, data_stream, shape, dtype, data_path)


def _decoded(header: Header, stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> np.ndarray:
    encoding = header["encoding"]
    if encoding not in OPENERS and encoding != "raw":
        return nrrd.read_data(header, stream, str(path), index_order="C")
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    for _ in range(int(header.get("line skip") or header.get("lineskip") or 0)):
        stream.readline()
    skipped_bytes = int(header.get("byte skip") or header.get("byteskip") or 0)
    if encoding == "raw":
        require_file_bytes(claimed, path)
        stream.seek(*((-claimed, 2) if skipped_bytes < 0 else (skipped_bytes, 1)))
        voxel_bytes = read_exactly(stream, claimed, path)
    else:
        with OPENERS[encoding](stream) as decompressed:
            read_exactly(decompressed, max(skipped_bytes, 0), path)
            voxel_bytes = read_exactly(decompressed, claimed, path)
            read_to_end(decompressed, path)
    return np.frombuffer(voxel_bytes, dtype=dtype).reshape(shape)


def _detached_path(name: str, header_path: Path) -> Path:
    """The data file of a detached header; only files of the header's own folder, so that no other file can be read."""
    if "%" in name or name.upper().startswith("LIST"):
        raise ImageReadError(f"{header_path} spreads its data over several files.", "Save it as one .nrrd file.")
    folder = header_path.parent.resolve()
    data_path = (folder / name).resolve()
    if not data_path.is_relative_to(folder):
        raise ImageReadError(
            f"{header_path} names a data file outside its own folder: {name}.", "Save it as one .nrrd file."
        )
    if not data_path.is_file():
        raise ImageReadError(f"{header_path} names a data file that is not there: {name}.", "Copy both files.")
    return data_path


def _spatial_axes(header: Header, path: Path) -> list[int]:
    """Axes in file order (fastest first) that span space; at most one further axis, a colour, is allowed."""
    sizes = [int(length) for length in header["sizes"]]
    kinds = list(header.get("kinds", ["domain"] * len(sizes)))
    spatial = [axis for axis, kind in enumerate(kinds) if kind not in COLOUR_KINDS and kind not in {"vector", "list"}]
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    colour = [axis for axis in others if kinds[axis] in COLOUR_KINDS or sizes[axis] in COLOUR_KINDS.values()]
    if len(spatial) not in {2, 3} or colour != others or len(others) > 1:
        raise ImageReadError(
            f"{path} has axes of lengths {sizes} and kinds {kinds}; two or three spatial axes are read.",
            "Save one volume (one time point, one component) as its own file.",
        )
    return spatial


def _affine(header: Header, spatial: list[int]) -> tuple[Matrix, bool]:
    """(4, 4) index to RAS millimetres, and whether the file tells its spacing."""
    affine_lps = np.eye(4)
    known = False
    if header.get("space directions") is not None:
        directions = list(header["space directions"])
        vectors = [np.asarray(directions[axis], dtype=np.float64) for axis in spatial]
        for column, vector in enumerate(vectors):
            affine_lps[: len(vector), column] = vector
        origin = np.asarray(header.get("space origin", np.zeros(len(vectors[0]))), dtype=np.float64)
        affine_lps[: len(origin), 3] = np.nan_to_num(origin)
        known = True
    elif header.get("spacings") is not None:
        spacings = np.asarray(header["spacings"], dtype=np.float64)[spatial]
        known = bool(np.isfinite(spacings).all())
        affine_lps[range(len(spatial)), range(len(spatial))] = np.where(np.isfinite(spacings), spacings, 1.0)
        minima = np.asarray(header.get("axis mins", np.zeros(len(header["sizes"]))), dtype=np.float64)[spatial]
        affine_lps[: len(spatial), 3] = np.nan_to_num(minima)
    signs = LPS_FROM_SPACE.get(str(header.get("space", "")).lower().removesuffix("-time"), (1.0, 1.0, 1.0))
    return LPS_FROM_RAS @ np.diag([*signs, 1.0]) @ affine_lps, known
