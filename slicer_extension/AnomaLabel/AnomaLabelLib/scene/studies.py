"""Studies of the server as volumes of the scene."""

from __future__ import annotations

import slicer

from ..server.client import StudyFile
from .geometry import grid_size
from .slice_views import nodes_of_class
from .volume_files import read_image

SERVER_ATTRIBUTE = "AnomaLabel.Server"
STUDY_ATTRIBUTE = "AnomaLabel.Study"


def find_study(scene: slicer.vtkMRMLScene, address: str, study: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume that was loaded from a study of a server before."""
    for volume in nodes_of_class(scene, "vtkMRMLScalarVolumeNode"):
        same = volume.GetAttribute(SERVER_ATTRIBUTE) == address and volume.GetAttribute(STUDY_ATTRIBUTE) == study
        if same and min(grid_size(volume)) > 0:
            return volume
    return None


def load_study(scene: slicer.vtkMRMLScene, address: str, file: StudyFile) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a study of a server to the scene.

    Raises:
        SceneError: its format cannot be read; the scene is left as it was.
    """
    volume = slicer.vtkMRMLScalarVolumeNode()
    read_image(file.content, file.filename, volume)
    volume.SetName(scene.GenerateUniqueName(file.study))
    volume.SetAttribute(SERVER_ATTRIBUTE, address)
    volume.SetAttribute(STUDY_ATTRIBUTE, file.study)
    scene.AddNode(volume)
    volume.CreateDefaultDisplayNodes()
    return volume
