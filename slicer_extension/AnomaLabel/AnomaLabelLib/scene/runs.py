"""A run in the scene: one node that holds the findings, and the heatmap, maps, mask and boxes that belong to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import slicer

from ..errors import PanelError, SceneError
from ..server.client import InferenceResult
from ..server.map_kinds import MAP_KINDS
from ..server.report import Report, parse_report
from ..translation import _
from .boxes import add_box, views_wait
from .further_maps import load_map
from .geometry import same_grid
from .heatmap import load_heatmap, set_up_display
from .ownership import (
    BOX_ROLE,
    FINDING_ATTRIBUTE,
    HEATMAP_ROLE,
    PART_ROLE,
    ROLE_ATTRIBUTE,
    RUN_ATTRIBUTE,
    RUN_ROLE,
    UNSEEN_ROLE,
    claim,
    owned_nodes,
)
from .subject_hierarchy import add_folder, remove_folder
from .unseen import add_unseen_mask

SOURCE_REFERENCE = "AnomaLabel.source"


@dataclass(frozen=True)
class Run:
    """A run whose nodes are all in the scene; `maps` holds what the method gave beside the heatmap, by kind."""

    id: str
    name: str
    report: Report
    heatmap: slicer.vtkMRMLScalarVolumeNode
    unseen: slicer.vtkMRMLLabelMapVolumeNode
    boxes: tuple[slicer.vtkMRMLMarkupsROINode, ...]
    source: slicer.vtkMRMLScalarVolumeNode | None
    maps: dict[str, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)


def add_run(
    scene: slicer.vtkMRMLScene, result: InferenceResult, source: slicer.vtkMRMLScalarVolumeNode, name: str
) -> Run:
    """Put a result into the scene, whole or not at all.

    Args:
        source: the image that was looked at; heatmap and boxes follow its parent transform.

    Raises:
        PanelError: the result does not fit the image or cannot be read; the scene is left as it was.
    """
    run_id = str(uuid.uuid4())
    try:
        with views_wait(scene):
            _add_parts(scene, result, source, run_id, scene.GenerateUniqueName(name))
    except PanelError:
        delete_run(scene, run_id)
        raise
    (run,) = _whole_runs(owned_nodes(scene, run_id))
    return run


def find_runs(scene: slicer.vtkMRMLScene) -> list[Run]:
    """The runs of the scene, oldest first.

    One whose nodes were taken out by hand is left out, and so is one whose findings cannot be read, such as those of a
    scene that a later version has saved: its nodes stay as they are.
    """
    return _whole_runs(owned_nodes(scene, None))


def delete_run(scene: slicer.vtkMRMLScene, run_id: str) -> None:
    """Take out of the scene what belongs to a run, and nothing else."""
    with views_wait(scene):
        remove_folder(scene, run_id)
        for node in owned_nodes(scene, run_id):
            for place in reversed(range(_display_count(node))):
                scene.RemoveNode(node.GetNthDisplayNode(place))
            scene.RemoveNode(node)


def _add_parts(
    scene: slicer.vtkMRMLScene,
    result: InferenceResult,
    source: slicer.vtkMRMLScalarVolumeNode,
    run_id: str,
    name: str,
) -> None:
    report = result.report
    record = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
    record.SetText(report.text)
    record.SetNodeReferenceID(SOURCE_REFERENCE, source.GetID())
    claim(record, run_id, RUN_ROLE)
    heatmap = load_heatmap(scene, result.heatmap_nrrd, report, _("{run} heatmap").format(run=name))
    claim(heatmap, run_id, HEATMAP_ROLE)
    if not same_grid(heatmap, source):
        raise SceneError(
            _("The heatmap lies on another grid than volume '{name}'.").format(name=source.GetName()),
            _("Load the image again without resampling it, and run again."),
        )
    set_up_display(heatmap, report)
    unseen, colors = add_unseen_mask(scene, heatmap, _("{run} not looked at").format(run=name))
    claim(unseen, run_id, UNSEEN_ROLE)
    claim(colors, run_id, PART_ROLE)
    followers = [heatmap, unseen]
    for kind, content in result.maps.items():
        volume = load_map(scene, kind, content, heatmap, name)
        claim(volume, run_id, kind)
        followers.append(volume)
    for number, finding in enumerate(report.findings, start=1):
        box = add_box(scene, finding, heatmap, _("{run} finding {number}").format(run=name, number=number))
        claim(box, run_id, BOX_ROLE, finding.id)
        followers.append(box)
    for node in followers:
        node.SetAndObserveTransformNodeID(source.GetTransformNodeID())
    add_folder(scene, name, run_id, [record, *followers])


def _whole_runs(nodes: list[slicer.vtkMRMLNode]) -> list[Run]:
    """The runs that own the nodes, in the order of their records."""
    by_run: dict[str, dict[str, list[slicer.vtkMRMLNode]]] = {}
    for node in nodes:
        roles = by_run.setdefault(node.GetAttribute(RUN_ATTRIBUTE), {})
        roles.setdefault(node.GetAttribute(ROLE_ATTRIBUTE), []).append(node)
    whole = {
        run_id: roles
        for run_id, roles in by_run.items()
        if all(len(roles.get(role, ())) == 1 for role in (RUN_ROLE, HEATMAP_ROLE, UNSEEN_ROLE))
    }
    order = [node.GetAttribute(RUN_ATTRIBUTE) for node in nodes if node.GetAttribute(ROLE_ATTRIBUTE) == RUN_ROLE]
    found = (_run_of(run_id, whole[run_id]) for run_id in order if run_id in whole)
    return [run for run in found if run is not None]


def _run_of(run_id: str, roles: dict[str, list[slicer.vtkMRMLNode]]) -> Run | None:
    (record,), (heatmap,), (unseen,) = roles[RUN_ROLE], roles[HEATMAP_ROLE], roles[UNSEEN_ROLE]
    report = _report_of(record.GetText() or "")
    if report is None or heatmap.GetScalarVolumeDisplayNode() is None:
        return None
    return Run(
        id=run_id,
        name=record.GetName(),
        report=report,
        heatmap=heatmap,
        unseen=unseen,
        boxes=tuple(box for box in roles.get(BOX_ROLE, ()) if box.GetAttribute(FINDING_ATTRIBUTE)),
        source=record.GetNodeReference(SOURCE_REFERENCE),
        maps={kind: node for kind in MAP_KINDS for node in roles.get(kind, ())},
    )


@lru_cache(maxsize=32)
def _report_of(text: str) -> Report | None:
    """A report, read once however often the scene is looked through; None where it cannot be read."""
    try:
        return parse_report(text)
    except PanelError:
        return None


def _display_count(node: slicer.vtkMRMLNode) -> int:
    count: Callable[[], int] | None = getattr(node, "GetNumberOfDisplayNodes", None)
    return count() if count else 0
