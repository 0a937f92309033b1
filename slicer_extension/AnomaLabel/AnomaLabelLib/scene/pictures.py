"""PNG, JPEG and TIFF pictures as grey volumes of one slice, by VTK's own readers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..errors import unreadable_image

TIFF_BOTTOM_LEFT = 4


def _tiff_reader() -> vtk.vtkTIFFReader:
    """A reader whose first row is the lowest one, as that of VTK's other readers."""
    reader = vtk.vtkTIFFReader()
    reader.SetOrientationType(TIFF_BOTTOM_LEFT)
    return reader


KINDS = (vtk.vtkPNGReader, vtk.vtkJPEGReader, _tiff_reader)
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
LUMINANCE = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, of red, green and blue."""


def is_picture(filename: str) -> bool:
    """Whether the name is that of a picture."""
    return Path(filename).suffix.lower() in SUFFIXES


def read_picture(content: bytes, filename: str, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Fill a volume node with the brightness of a picture, 1 mm pixels, placed as Slicer places pictures.

    Raises:
        SceneError: the picture cannot be read.
    """
    pixels = _pixels(content, filename)
    if pixels.shape[2] >= LUMINANCE.size:
        grey = pixels[..., : LUMINANCE.size].astype(np.float32) @ LUMINANCE.astype(np.float32)
    else:
        grey = pixels[..., 0]
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(grey[np.newaxis]))
    to_ras = vtk.vtkMatrix4x4()
    to_ras.SetElement(0, 0, -1.0)
    to_ras.SetElement(1, 1, -1.0)
    volume.SetIJKToRASMatrix(to_ras)


def _pixels(content: bytes, filename: str) -> np.ndarray:
    """(height, width, channels), row 0 on top; the content tells the format, since names often do not."""
    with tempfile.TemporaryDirectory(prefix="AnomaLabel-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "picture"
        path.write_bytes(content)
        reader = next((made for make in KINDS if (made := make()).CanReadFile(str(path))), None)
        if reader is None:
            raise unreadable_image(filename)
        reader.SetFileName(str(path))
        reader.Update()
    image = reader.GetOutput()
    scalars = image.GetPointData().GetScalars()
    width, height, depth = image.GetDimensions()
    if scalars is None or depth != 1 or width * height == 0:
        raise unreadable_image(filename)
    return numpy_support.vtk_to_numpy(scalars).reshape(height, width, -1)[::-1]
