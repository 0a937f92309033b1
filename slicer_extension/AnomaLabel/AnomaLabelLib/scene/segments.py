"""The segments of a case: one segmentation per image, one segment per finding, corrected in the Segment Editor."""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ..errors import SceneError
from ..translation import _
from .geometry import grid_size
from .growing import BoxedFinding, grow
from .nodes import nodes_of_class
from .ownership import FINDING_ATTRIBUTE, ROLE_ATTRIBUTE
from .same_place import in_order_of

SEGMENTS_ROLE = "segments"
WRITTEN_TAG = "AnomaLabel.Written"
"""Of a segment: the hash of the voxels that we wrote, by which a correction is told from a grown segment."""

SENT_ATTRIBUTE = "AnomaLabel.Sent"
"""Of a segmentation: the hash of the voxels that the server has, or will have, as label."""

FIRST_HUE, HUES = 0.3, 0.25
"""Green to cyan: red and yellow are the heatmap's, blue the tint's, magenta the uncertainty's."""

GOLDEN_RATIO = 0.618034
MOST_SEGMENTS = 255
FILL_OPACITY = 0.15
"""Little, so that the heatmap below keeps its colours; the outline tells where the segment ends."""


@dataclass(frozen=True)
class PlacedSegment:
    """A finding's segment.

    Args:
        id: inside the segmentation.
        kept: the user had changed it, so it was left as it is.
        note: what is to be said of it, "" for nothing.
    """

    id: str
    kept: bool = False
    note: str = ""


def case_segmentation(
    scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation of an image, or None where there is none yet."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
        if node.GetAttribute(ROLE_ATTRIBUTE) == SEGMENTS_ROLE and node.GetNodeReferenceID(role) == source.GetID():
            return node
    return None


def owned_segmentation(
    scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    """The segmentation of an image, made on its grid where there is none yet."""
    node = case_segmentation(scene, source)
    if node is None:
        name = scene.GenerateUniqueName(_("{image} findings").format(image=source.GetName()))
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.SetAttribute(ROLE_ATTRIBUTE, SEGMENTS_ROLE)
        node.SetReferenceImageGeometryParameterFromVolumeNode(source)
        node.SetAndObserveTransformNodeID(source.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetOpacity2DFill(FILL_OPACITY)
    return node


def grow_segment(
    scene: slicer.vtkMRMLScene,
    heatmap: slicer.vtkMRMLScalarVolumeNode,
    source: slicer.vtkMRMLScalarVolumeNode,
    threshold: float,
    finding: BoxedFinding,
    name: str,
) -> PlacedSegment:
    """Grow a finding's segment from its heatmap, see `grow` and `segment_of`.

    Raises:
        SceneError: the box lies outside the heatmap, or heatmap and image on different grids.
    """
    region = grow(slicer.util.arrayFromVolume(heatmap), threshold, finding)
    mask = in_order_of(source, heatmap, region.mask)
    placed = segment_of(scene, None, source, finding, mask, name)
    return placed if placed.kept else PlacedSegment(placed.id, note=region.note)


def segment_of(
    scene: slicer.vtkMRMLScene,
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    source: slicer.vtkMRMLScalarVolumeNode,
    finding: BoxedFinding,
    mask: np.ndarray,
    name: str,
) -> PlacedSegment:
    """Add a finding's segment, or write it anew where the user has not changed it since.

    Args:
        segmentation: None for the image's own, made where there is none.
        mask: (Z, Y, X), true inside, in the voxel order of `source`.
        name: of the segment.

    Raises:
        SceneError: the mask has another size than the image.
    """
    if mask.shape != grid_size(source)[::-1]:
        raise SceneError(
            _("The segment does not have the size of volume '{name}'.").format(name=source.GetName()),
            _("Run again on the image as it was loaded."),
        )
    node = segmentation or owned_segmentation(scene, source)
    mask = np.ascontiguousarray(mask, np.uint8)
    known = finding_segment(node, finding.id)
    if known is not None and is_edited(node, known, source):
        return PlacedSegment(
            known, kept=True, note=_("The segment was corrected by hand and is kept. Delete it to grow it anew.")
        )
    if known is None:
        known = node.GetSegmentation().AddEmptySegment("", name, _color(node.GetSegmentation().GetNumberOfSegments()))
        node.GetSegmentation().GetSegment(known).SetTag(FINDING_ATTRIBUTE, finding.id)
    _write(node, known, source, mask)
    node.GetSegmentation().GetSegment(known).SetTag(WRITTEN_TAG, _hash(mask))
    return PlacedSegment(known)


def finding_segment(segmentation: slicer.vtkMRMLSegmentationNode, finding_id: str) -> str | None:
    """The id of a finding's segment, or None."""
    for segment_id in _segment_ids(segmentation):
        if _tag(segmentation, segment_id, FINDING_ATTRIBUTE) == finding_id:
            return segment_id
    return None


def segment_findings(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[str, ...]:
    """The findings that have a segment with something in it, in segment order."""
    filled = [each for each in _segment_ids(segmentation) if not _is_empty(segmentation, each)]
    return tuple(found for each in filled if (found := _tag(segmentation, each, FINDING_ATTRIBUTE)))


def is_edited(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, source: slicer.vtkMRMLScalarVolumeNode
) -> bool:
    """Whether a segment holds other voxels than we wrote, or was not written by us."""
    written = _tag(segmentation, segment_id, WRITTEN_TAG)
    return written != _hash(segment_mask(segmentation, segment_id, source))


def tell_findings(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_ids: tuple[str, ...], finding_ids: tuple[str, ...]
) -> None:
    """Note whose segments these are, where there is one finding to each."""
    if len(segment_ids) == len(finding_ids):
        for segment_id, finding_id in zip(segment_ids, finding_ids, strict=True):
            segmentation.GetSegmentation().GetSegment(segment_id).SetTag(FINDING_ATTRIBUTE, finding_id)


def mark_sent(segmentation: slicer.vtkMRMLSegmentationNode, source: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Note that the segments, as they are now, are the label of their image."""
    segmentation.SetAttribute(SENT_ATTRIBUTE, _hash_of_all(segmentation, source))


def is_sent(segmentation: slicer.vtkMRMLSegmentationNode, source: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether nothing was changed since `mark_sent`."""
    return segmentation.GetAttribute(SENT_ATTRIBUTE) == _hash_of_all(segmentation, source)


def segment_mask(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, grid: slicer.vtkMRMLVolumeNode
) -> np.ndarray:
    """(Z, Y, X) uint8, 1 inside the segment, in the voxel order of a volume; what lies outside of it is cut off."""
    labels = np.zeros(grid_size(grid)[::-1], np.uint8)
    _merge(segmentation, segment_id, grid, labels, 1)
    return labels


def mask_of(
    segmentation: slicer.vtkMRMLSegmentationNode, grid: slicer.vtkMRMLVolumeNode
) -> tuple[np.ndarray, tuple[str, ...]]:
    """All segments as one label map on a volume's grid.

    Args:
        grid: the heatmap of a run, to have the voxels in the server's own order; or the image.

    Returns:
        (Z, Y, X) uint8: 0 outside, n inside the n-th name's segment, the later segment where two overlap; and the
        names. An empty segment has neither label nor name.

    Raises:
        SceneError: more than 255 segments.
    """
    filled = [each for each in _segment_ids(segmentation) if not _is_empty(segmentation, each)]
    if len(filled) > MOST_SEGMENTS:
        raise SceneError(
            _("The segmentation has more than {most} segments.").format(most=MOST_SEGMENTS),
            _("Merge or delete segments in the Segment Editor."),
        )
    labels = np.zeros(grid_size(grid)[::-1], np.uint8)
    for label, segment_id in enumerate(filled, start=1):
        _merge(segmentation, segment_id, grid, labels, label)
    names = tuple(segmentation.GetSegmentation().GetSegment(each).GetName() for each in filled)
    return labels, names


def add_labels(
    segmentation: slicer.vtkMRMLSegmentationNode,
    grid: slicer.vtkMRMLVolumeNode,
    labels: np.ndarray,
    names: tuple[str, ...],
) -> tuple[str, ...]:
    """Add one segment per name from a label map on a volume's grid; their ids, in that order."""
    ids = []
    for label, name in enumerate(names, start=1):
        made = segmentation.GetSegmentation()
        ids.append(made.AddEmptySegment("", name, _color(made.GetNumberOfSegments())))
        _write(segmentation, ids[-1], grid, (labels == label).astype(np.uint8))
    return tuple(ids)


def _write(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, grid: slicer.vtkMRMLVolumeNode, mask: np.ndarray
) -> None:
    if not mask.any():
        segmentation.GetSegmentation().ClearSegment(segment_id)
        return
    image = _image_on(grid, mask)
    if not slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, segmentation, segment_id):
        raise SceneError(
            _("The segment cannot be written into '{name}'.").format(name=segmentation.GetName()),
            _("Delete this segmentation and grow the segment again."),
        )


def _merge(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    grid: slicer.vtkMRMLVolumeNode,
    labels: np.ndarray,
    label: int,
) -> None:
    """Write a label where a segment lies; labels: (Z, Y, X) on the grid, changed in place."""
    inside = slicer.vtkOrientedImageData()
    if _is_empty(segmentation, segment_id) or not segmentation.GetBinaryLabelmapRepresentation(segment_id, inside):
        return
    placed = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(inside, _image_on(grid, None), placed, False):
        raise SceneError(
            _("The segments cannot be brought onto the grid of '{name}'.").format(name=grid.GetName()),
            _("Delete this segmentation and grow its segments again."),
        )
    voxels = numpy_support.vtk_to_numpy(placed.GetPointData().GetScalars())
    labels[voxels.reshape(labels.shape) > 0] = label


def _image_on(grid: slicer.vtkMRMLVolumeNode, mask: np.ndarray | None) -> slicer.vtkOrientedImageData:
    """An image at the place of a volume, with a mask's voxels or, for a pure frame, with none."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*grid_size(grid))
    to_ras = vtk.vtkMatrix4x4()
    grid.GetIJKToRASMatrix(to_ras)
    image.SetImageToWorldMatrix(to_ras)
    if mask is not None:
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.ravel(), deep=True))
    return image


def _segment_ids(segmentation: slicer.vtkMRMLSegmentationNode) -> list[str]:
    segments = segmentation.GetSegmentation()
    return [segments.GetNthSegmentID(place) for place in range(segments.GetNumberOfSegments())]


def _is_empty(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    # Segments that do not overlap share one image, each with a value of its own.
    shared = segmentation.GetBinaryLabelmapInternalRepresentation(segment_id)
    if shared is None or shared.IsEmpty():
        return True
    value = segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    return not (numpy_support.vtk_to_numpy(shared.GetPointData().GetScalars()) == value).any()


def _tag(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, name: str) -> str:
    value = vtk.mutable("")
    has = segmentation.GetSegmentation().GetSegment(segment_id).GetTag(name, value)
    return str(value) if has else ""


def _hash_of_all(segmentation: slicer.vtkMRMLSegmentationNode, source: slicer.vtkMRMLScalarVolumeNode) -> str:
    labels, names = mask_of(segmentation, source)
    return hashlib.sha256("\n".join(names).encode() + labels.tobytes()).hexdigest()


def _hash(mask: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def _color(place: int) -> list[float]:
    hue = FIRST_HUE + HUES * (place * GOLDEN_RATIO % 1.0)
    return list(colorsys.hsv_to_rgb(hue, 0.9, 0.95 - 0.3 * (place % 2)))
