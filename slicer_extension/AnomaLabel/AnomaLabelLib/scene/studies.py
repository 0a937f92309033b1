"""Studies of the server as volumes of the scene."""

from __future__ import annotations

import re

import slicer

from ..server.client import StudyFile
from .geometry import grid_size
from .slice_views import nodes_of_class
from .volume_files import read_image

SERVER_ATTRIBUTE = "AnomaLabel.Server"
STUDY_ATTRIBUTE = "AnomaLabel.Study"
FETCHED_ATTRIBUTE = "AnomaLabel.Fetched"
FORBIDDEN = re.compile(r"[/\\:\x00-\x1f\x7f]")
MAXIMUM_NAME = 150


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
    link_study(volume, address, file.study)
    volume.SetAttribute(FETCHED_ATTRIBUTE, "yes")
    scene.AddNode(volume)
    volume.CreateDefaultDisplayNodes()
    return volume


def link_study(volume: slicer.vtkMRMLScalarVolumeNode, address: str, study: str) -> None:
    """Note that a volume is a study of a server."""
    volume.SetAttribute(SERVER_ATTRIBUTE, address)
    volume.SetAttribute(STUDY_ATTRIBUTE, study)


def was_fetched(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether the panel brought an image into the scene; one that the user loaded stays the user's."""
    return node is not None and bool(node.GetAttribute(FETCHED_ATTRIBUTE))


def study_name(volume_name: str) -> str:
    """A volume's name as a study may have it: what separates folders becomes a line."""
    plain = FORBIDDEN.sub("_", volume_name).strip().lstrip(".")
    return plain[:MAXIMUM_NAME] or "volume"
