"""The way to Slicer's own Segment Editor and back."""

from __future__ import annotations

import slicer


def open_segment_editor(segmentation) -> None:
    """Go to the Segment Editor, with a segmentation picked; nothing happens where it was removed meanwhile."""
    if segmentation is None:
        return
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole()))


def picked_segment():
    """The segmentation and segment that the Segment Editor stands at; (None, "") where it was not used yet."""
    state = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentEditorNode")
    if state is None or state.GetSegmentationNode() is None:
        return None, ""
    return state.GetSegmentationNode(), state.GetSelectedSegmentID() or ""
