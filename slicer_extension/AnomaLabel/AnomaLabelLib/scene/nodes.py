"""Walking through the nodes of a scene."""

from __future__ import annotations

from collections.abc import Iterator

import slicer


def nodes_of_class(scene: slicer.vtkMRMLScene, name: str) -> Iterator[slicer.vtkMRMLNode]:
    """The nodes of one class, in scene order."""
    # The scene counts from its first node on to find the n-th of a class, so that is asked for nowhere.
    yield from [node for node in scene.GetNodes() if node.IsA(name)]
