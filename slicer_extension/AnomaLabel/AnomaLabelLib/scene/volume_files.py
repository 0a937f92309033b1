"""Volume nodes from and to files, by MRML's own storage nodes."""

from __future__ import annotations

import re
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import slicer

from ..errors import SceneError, unreadable_image
from ..translation import _
from .geometry import ijk_to_ras
from .pictures import is_picture, read_picture

NRRD_NAME = "image.nrrd"
NRRD_MAGIC, GZIP_MAGIC = b"NRRD", b"\x1f\x8b"
HEADER_BYTES = 4096
SPACE = re.compile(
    r"^space: *([rl])(?:ight|eft)?-?([ap])(?:nterior|osterior)?-?([si])(?:uperior|nferior)?\s*$", re.M | re.I
)
"""The directions of an NRRD file's axes: "left-posterior-superior", or "LPS" for short."""

NIFTI_BYTES = 348
"""Of the header of NIfTI-1, the one kind that MRML's reader knows; its first number."""


def write_nrrd(volume: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write a volume as uncompressed NRRD: compressing would hold the window for longer than sending takes.

    Raises:
        SceneError: the file could not be written.
    """
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(0)
    if not storage.WriteData(volume):
        raise SceneError(
            _("Volume '{name}' cannot be written to {path}.").format(name=volume.GetName(), path=path),
            _("Check that the disk of the temporary folder has room."),
        )


def read_nrrd(content: bytes | memoryview, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Fill a volume node from the bytes of an NRRD file.

    Raises:
        SceneError: the bytes are no readable NRRD file.
    """
    _read(content, NRRD_NAME, volume, slicer.vtkMRMLNRRDStorageNode())


def read_image(content: bytes, filename: str, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Fill a volume node from the bytes of an image file; the end of its name tells the format.

    The voxels keep the file's own order, which is the server's: boxes and masks speak of it. MRML's general reader
    counts the third axis of a left-handed file from its other end.

    Raises:
        SceneError: it cannot be read.
    """
    if is_picture(filename):
        read_picture(content, filename, volume)
        return
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetSingleFile(1)
    _read(content, filename, volume, storage)
    if is_left_handed(content) and np.linalg.det(ijk_to_ras(volume)[:3, :3]) > 0:
        _turn_last_axis(volume)


def is_left_handed(content: bytes) -> bool:
    """Whether an NRRD or NIfTI file's header says that its axes (i, j, k) are left-handed; False where it says not."""
    if content.startswith(NRRD_MAGIC):
        return _nrrd_turn(content[:HEADER_BYTES]) < 0
    if content.startswith(GZIP_MAGIC):
        # A damaged file is the reader's to refuse.
        try:
            content = zlib.decompressobj(wbits=31).decompress(content, HEADER_BYTES)
        except zlib.error:
            return False
    return _nifti_turn(content[:HEADER_BYTES]) < 0


def _nrrd_turn(header: bytes) -> float:
    """Below 0 for a left-handed header, 0 where it does not tell."""
    text = header.split(b"\n\n")[0].split(b"\r\n\r\n")[0].decode("ascii", "replace")
    space = SPACE.search(text)
    axes = re.search(r"^space directions:(.*)$", text, re.MULTILINE)
    vectors = re.findall(r"\(([^)]*)\)", axes.group(1)) if axes else []
    if space is None or len(vectors) != 3:
        return 0.0
    try:
        matrix = np.array([[float(part) for part in vector.split(",")] for vector in vectors])
    except ValueError:
        return 0.0
    against = sum(end.lower() in "lpi" for end in space.groups())
    return float(np.linalg.det(matrix)) * (-1.0) ** against if matrix.shape == (3, 3) else 0.0


def _nifti_turn(header: bytes) -> float:
    """Below 0 for a left-handed header, 0 where it does not tell; sform before qform, as the server reads it."""
    order = next((each for each in "<>" if header[:4] == struct.pack(f"{each}i", NIFTI_BYTES)), "")
    if not order or len(header) < NIFTI_BYTES:
        return 0.0
    qform, sform = struct.unpack_from(f"{order}2h", header, 252)
    if sform > 0:
        rows = np.array(struct.unpack_from(f"{order}12f", header, 280)).reshape(3, 4)
        return float(np.linalg.det(rows[:, :3]))
    return struct.unpack_from(f"{order}f", header, 76)[0] if qform > 0 else 0.0


def _turn_last_axis(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Count the third axis from its other end; every voxel stays at its place in the world."""
    values, matrix = slicer.util.arrayFromVolume(volume), ijk_to_ras(volume)
    matrix[:3, 3] += matrix[:3, 2] * (len(values) - 1)
    matrix[:3, 2] *= -1
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(values[::-1]))
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))


def _read(
    content: bytes | memoryview,
    filename: str,
    volume: slicer.vtkMRMLScalarVolumeNode,
    storage: slicer.vtkMRMLStorageNode,
) -> None:
    with tempfile.TemporaryDirectory(prefix="AnomaLabel-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / filename
        path.write_bytes(content)
        storage.SetFileName(str(path))
        done = storage.ReadData(volume)
    if not done or volume.GetImageData() is None:
        raise unreadable_image(filename)
