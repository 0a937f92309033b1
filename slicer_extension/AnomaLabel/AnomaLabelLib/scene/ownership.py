"""Which nodes of the scene belong to which run: written as node attributes, which survive saving.

A map beside the heatmap has its kind as role, see `map_kinds`.
"""

from __future__ import annotations

import slicer

RUN_ATTRIBUTE = "AnomaLabel.Run"
ROLE_ATTRIBUTE = "AnomaLabel.Role"
FINDING_ATTRIBUTE = "AnomaLabel.Finding"

RUN_ROLE = "run"
HEATMAP_ROLE = "heatmap"
UNSEEN_ROLE = "unseen"
BOX_ROLE = "box"
NEW_BOX_ROLE = "new box"
PART_ROLE = "part"


def claim(node: slicer.vtkMRMLNode, run_id: str, role: str, finding_id: str = "") -> None:
    """Mark a node as a run's own."""
    node.SetAttribute(RUN_ATTRIBUTE, run_id)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    if finding_id:
        node.SetAttribute(FINDING_ATTRIBUTE, finding_id)


def owned_nodes(scene: slicer.vtkMRMLScene, run_id: str | None, role: str = "") -> list[slicer.vtkMRMLNode]:
    """The nodes of a run in scene order, of one role or of all; those of every run for None."""
    nodes = []
    # Asking a scene for its n-th node, again and again, takes far longer than going through all.
    for node in scene.GetNodes():
        owner = node.GetAttribute(RUN_ATTRIBUTE)
        if owner and run_id in (None, owner) and role in ("", node.GetAttribute(ROLE_ATTRIBUTE)):
            nodes.append(node)
    return nodes
