"""NIfTI-1 and NIfTI-2: one file (.nii, .nii.gz) or a pair (.hdr and .img)."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader

from anomalabel.errors import ImageReadError
from anomalabel.io.colour import luminance
from anomalabel.io.damage import parsing, truncated
from anomalabel.io.limits import read_exactly, read_to_end, require_file_bytes, require_memory
from anomalabel.volume import FloatArray, Matrix, Volume

HEADER_BYTES = {1: 348, 2: 540}
GZIP_MAGIC = b"\x1f\x8b"
MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}

Header = Nifti1PairHeader | Nifti2PairHeader


def nifti_version(head: bytes) -> int | None:
    """1 or 2 where the first 540 bytes are a NIfTI header, else None."""
    if head[344:347] in (b"n+1", b"ni1"):
        return 1
    if head[4:7] in (b"n+2", b"ni2"):
        return 2
    return None


def read_nifti(path: Path) -> Volume:
    """Read a scalar NIfTI volume; the affine is nibabel's (sform, else qform, else pixdim) in millimetres.

    A compressed file is read to its end first, so that its checksum is compared; colour becomes luminance.

    Raises:
        ImageReadError: truncated, corrupt, not NIfTI, more voxels than memory, no voxel, more than three axes.
    """
    header_path, data_path = _pair(path)
    with _opened(header_path) as stream:
        header, version = _header(stream, header_path)
        shape = _shape(header, path)
        voxels = int(np.prod(shape, dtype=object))
        require_memory(voxels, header.get_data_dtype().itemsize, path)
        if header_path == data_path:
            voxel_bytes = _voxel_bytes(stream, header, voxels, data_path, HEADER_BYTES[version])
        else:
            with _opened(data_path) as data_stream:
                voxel_bytes = _voxel_bytes(data_stream, header, voxels, data_path, 0)
    dtype = header.get_data_dtype()
    stored = np.frombuffer(voxel_bytes, dtype=dtype).reshape(header.get_data_shape(), order="F")
    affine, spacing_known = _affine(header, version)
    values = _values(stored, header, path)
    return Volume(
        array=np.ascontiguousarray(values.reshape(shape, order="F").T),
        affine_ras=affine,
        source=str(path),
        spacing_known=spacing_known,
        spatial_dims=2 if len(header.get_data_shape()) == 2 else 3,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    if path.suffix == ".hdr":
        return path, path.with_suffix(".img")
    if path.suffix == ".img":
        return path.with_suffix(".hdr"), path
    return path, path


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise ImageReadError(f"{path} does not exist.", "Keep the .hdr and the .img file side by side.")
    with path.open("rb") as stream:
        compressed = stream.read(2) == GZIP_MAGIC
    return cast("BinaryIO", gzip.open(path, "rb")) if compressed else path.open("rb")


def _header(stream: BinaryIO, path: Path) -> tuple[Header, int]:
    head = bytes(read_exactly(stream, HEADER_BYTES[1], path))
    version = nifti_version(head)
    if version == 2:
        head += bytes(read_exactly(stream, HEADER_BYTES[2] - HEADER_BYTES[1], path))
    if version is None:
        raise ImageReadError(f"{path} is no NIfTI file.", "Give a NIfTI file, or correct the file's extension.")
    kind = Nifti1PairHeader if version == 1 else Nifti2PairHeader
    with parsing(path):
        header = kind(head, check=False)
        header.check_fix(error_level=40)
        header.get_data_dtype()
        header.get_data_offset()
        header.get_slope_inter()
        header.get_best_affine()
        header.get_xyzt_units()
    return header, version


def _shape(header: Header, path: Path) -> tuple[int, int, int]:
    """(X, Y, Z), trailing axes of length 1 dropped and missing ones added."""
    claimed = tuple(int(length) for length in header.get_data_shape())
    if not claimed or min(claimed) < 1:
        raise ImageReadError(f"{path} has shape {claimed}, which holds no voxel.", "Export the file again.")
    kept = claimed
    while len(kept) > 3 and kept[-1] == 1:
        kept = kept[:-1]
    if len(kept) > 3 or len(kept) < 2:
        raise ImageReadError(
            f"{path} has {len(claimed)} axes of lengths {claimed}; two or three are read.",
            "Save one volume (one time point, one channel) as its own file.",
        )
    x, y, z = (*kept, 1)[:3]
    return x, y, z


def _voxel_bytes(stream: BinaryIO, header: Header, voxels: int, path: Path, already_read: int) -> bytearray:
    claimed = voxels * header.get_data_dtype().itemsize
    offset = int(header.get_data_offset())
    if offset < already_read:
        raise ImageReadError(f"{path} claims that its voxels begin at byte {offset}.", "Export the file again.")
    if not isinstance(stream, gzip.GzipFile):
        require_file_bytes(claimed, path, offset)
        stream.seek(offset)
        return read_exactly(stream, claimed, path)
    _skip(stream, offset - already_read, path)
    voxel_bytes = read_exactly(stream, claimed, path)
    read_to_end(stream, path)
    return voxel_bytes


def _skip(stream: BinaryIO, count: int, path: Path) -> None:
    limit = 1 << 24
    if count > limit:
        raise truncated(path, f"its header claims {count:,} bytes of extensions")
    read_exactly(stream, count, path)


def _values(stored: np.ndarray, header: Header, path: Path) -> FloatArray:
    """float32 in the file's own units, Fortran order."""
    if stored.dtype.names:
        return luminance(np.stack([stored[channel] for channel in "RGB"], axis=-1))
    if stored.dtype.kind not in "iuf":
        raise ImageReadError(f"{path} holds {stored.dtype} voxels.", "Save its magnitude as a real-valued volume.")
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32, order="F")
    slope, intercept = header.get_slope_inter()
    if slope is not None and slope != 1.0:
        values *= np.float32(slope)
    if intercept is not None and intercept != 0.0:
        values += np.float32(intercept)
    return values


def _affine(header: Header, version: int) -> tuple[Matrix, bool]:
    """(4, 4) index to RAS millimetres, and whether the file tells its spacing."""
    pixdim = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    coded = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    known = coded or not np.isin(pixdim, (0.0, 1.0)).all()
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return affine, bool(known)
