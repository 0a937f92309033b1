"""A scene with the logics that the application would give it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import slicer
import vtk

MODULE_FOLDER = Path(__file__).resolve().parents[1] / "AnomaLabel"


@dataclass(frozen=True)
class HeadlessScene:
    """A scene and the logic that ties its parts together."""

    scene: slicer.vtkMRMLScene
    application: slicer.vtkMRMLApplicationLogic
    _kept_alive: tuple[object, ...]


@contextmanager
def headless_scene() -> Iterator[HeadlessScene]:
    """A fresh scene that stands in as `slicer.mrmlScene`, with colours, markups, segmentations and a crosshair."""
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetSliceLogics(vtk.vtkCollection())
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    application.SetModuleLogic("Colors", colors)
    markups = slicer.vtkSlicerMarkupsLogic()
    markups.SetMRMLApplicationLogic(application)
    markups.SetMRMLScene(scene)
    application.SetModuleLogic("Markups", markups)
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    segmentations.SetMRMLApplicationLogic(application)
    segmentations.SetMRMLScene(scene)
    application.SetModuleLogic("Segmentations", segmentations)
    scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before = getattr(slicer, "mrmlScene", None)
    slicer.mrmlScene = scene
    try:
        yield HeadlessScene(scene, application, (colors, markups, segmentations))
    finally:
        slicer.mrmlScene = before
        scene.Clear(True)


def make_importable() -> None:
    """Put the module's folder on the import path, as Slicer does for a loaded module."""
    if str(MODULE_FOLDER) not in sys.path:
        sys.path.insert(0, str(MODULE_FOLDER))
