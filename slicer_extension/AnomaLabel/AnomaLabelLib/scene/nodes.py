"""Walking through the nodes of a scene."""

from __future__ import annotations

from collections.abc import Iterator

import slicer


def nodes_of_class(scene: slicer.vtkMRMLScene, name: str) -> Iterator[slicer.vtkMRMLNode]:
    """The nodes of one class, in scene order."""
    # The scene counts from its first node on to find the n-th of a class, and asking each node from here takes a
    # hundred times as long: this runs at every jump.
    found = scene.GetNodesByClass(name)
    found.UnRegister(scene)
    yield from list(found)
