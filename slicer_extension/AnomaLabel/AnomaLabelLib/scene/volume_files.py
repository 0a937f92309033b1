"""Volume nodes from and to files, by MRML's own storage nodes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import slicer

from ..errors import SceneError, unreadable_image
from ..translation import _
from .pictures import is_picture, read_picture

NRRD_NAME = "image.nrrd"


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

    Raises:
        SceneError: it cannot be read.
    """
    if is_picture(filename):
        read_picture(content, filename, volume)
        return
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetSingleFile(1)
    _read(content, filename, volume, storage)


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
