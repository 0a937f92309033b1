"""The volume of the scene on its way to the server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import slicer

from ..errors import SceneError
from ..translation import _
from .geometry import grid_size
from .volume_files import NRRD_NAME, write_nrrd


def check_sendable(volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Refuse what the server could not answer on the same grid.

    Raises:
        SceneError: no volume, no voxels, colour or vectors, a labelmap, a parent transform, or a warped grid.
    """
    if volume is None:
        raise SceneError(_("No volume is picked."), _("Load an image and pick it, or pick a study of the server."))
    name = volume.GetName()
    if min(grid_size(volume)) == 0:
        raise SceneError(_("Volume '{name}' holds no image.").format(name=name), _("Load its image again."))
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise SceneError(_("'{name}' is a label map.").format(name=name), _("Pick the image that it was drawn on."))
    if volume.GetImageData().GetNumberOfScalarComponents() != 1:
        raise SceneError(
            _("Volume '{name}' has more than one value per voxel.").format(name=name),
            _("Turn it into a grey image with the module Vector to Scalar Volume, or pick a study of the server."),
        )
    transform = volume.GetParentTransformNode()
    if transform is not None:
        raise SceneError(
            _("Volume '{name}' stands under the transform '{transform}', which would not be sent along.").format(
                name=name, transform=transform.GetName()
            ),
            _("Harden the transform in the module Transforms, or take the volume out of it, and run again."),
        )


@contextmanager
def volume_file(volume: slicer.vtkMRMLScalarVolumeNode) -> Iterator[Path]:
    """The volume as an NRRD file in a temporary folder that vanishes at the end.

    Raises:
        SceneError: the volume cannot be sent, or the file not written.
    """
    check_sendable(volume)
    with tempfile.TemporaryDirectory(prefix="AnomaLabel-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / NRRD_NAME
        write_nrrd(volume, path)
        yield path
