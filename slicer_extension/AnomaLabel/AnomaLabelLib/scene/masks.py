"""A case's label map on its way to the server and back, as a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import slicer
from vtk.util import numpy_support

from ..errors import SceneError
from ..translation import _
from .geometry import ijk_to_ras
from .same_place import in_order_of
from .segments import add_labels, owned_segmentation
from .volume_files import NRRD_NAME, read_nrrd


def write_mask(labels: np.ndarray, grid: slicer.vtkMRMLVolumeNode) -> bytes:
    """A label map as an NRRD file, gzip, uint8; the same labels always give the same bytes.

    Args:
        labels: (Z, Y, X) uint8 in the voxel order of `grid`.

    Raises:
        SceneError: it could not be written.
    """
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetName("mask")
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(labels, np.uint8))
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras(grid)))
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetUseCompression(1)
    with tempfile.TemporaryDirectory(prefix="AnomaLabel-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / NRRD_NAME
        storage.SetFileName(str(path))
        if not storage.WriteData(volume):
            raise SceneError(
                _("The label cannot be written to {path}.").format(path=path),
                _("Check that the disk of the temporary folder has room."),
            )
        return path.read_bytes()


def show_mask(
    scene: slicer.vtkMRMLScene,
    content: bytes | memoryview,
    source: slicer.vtkMRMLScalarVolumeNode,
    names: tuple[str, ...],
) -> tuple[str, ...]:
    """Add the segments of a label file, as the server keeps it, to the image's segmentation.

    Args:
        content: an NRRD file of whole numbers on the image's grid, label n for the n-th name.
        names: of the segments; a label beyond them is called by its number.

    Returns:
        The ids of the new segments.

    Raises:
        SceneError: the file cannot be read, holds no labels, or lies on another grid; the scene is left as it was.
    """
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetName("mask")
    read_nrrd(content, volume)
    values = numpy_support.vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars())
    if values.ndim != 1 or values.dtype.kind not in "iu" or values.min() < 0:
        raise SceneError(_("The file holds no labels."), _("Ask who runs the server which label this image has."))
    labels = in_order_of(source, volume, values.reshape(volume.GetImageData().GetDimensions()[::-1]))
    beyond = range(len(names) + 1, int(labels.max()) + 1)
    all_names = (*names, *(_("Label {number}").format(number=number) for number in beyond))
    return add_labels(owned_segmentation(scene, source), source, labels, all_names)
