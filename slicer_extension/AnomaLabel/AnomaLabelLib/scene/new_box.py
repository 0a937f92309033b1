"""A finding of the reader's own: a fresh box to drag over what was missed, or what was drawn in the Segment Editor."""

from __future__ import annotations

import uuid

import numpy as np
import slicer
from scipy import ndimage

from ..errors import SceneError
from ..review.row import Row, finding_row
from ..translation import _
from .box_looks import ACCEPTED, look_of, put_on
from .box_row import box_finding, box_scores
from .boxes import new_roi, place_box
from .geometry import grid_size, to_world
from .nodes import nodes_of_class
from .ownership import NEW_BOX_ROLE, RUN_ATTRIBUTE, claim
from .region_findings import LABEL
from .segments import segment_mask
from .voxel_box import VoxelBox, matrix_of, world_boxes

PART_OF_IMAGE = 0.1
SMALLEST_VOXELS = 3


def add_new_box(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode
) -> tuple[slicer.vtkMRMLMarkupsROINode, str]:
    """Add a box for the reader to drag: where the slice views cross, a tenth of the image wide, along its grid.

    Args:
        volume: heatmap or image; the box stands under its transform and belongs to its run, if it has one.

    Returns:
        The box, and the id of the finding that it will be.

    Raises:
        SceneError: the volume holds no image.
    """
    matrix = matrix_of(volume)
    size = np.array(grid_size(volume))
    middle = _start(scene, volume, matrix, size)
    half = np.maximum((size * PART_OF_IMAGE).astype(int), SMALLEST_VOXELS) // 2
    low, high = np.clip(middle - half, 0, size - 1), np.clip(middle + half, 0, size - 1)
    (world,) = world_boxes(matrix, low[None], high[None])
    roi = new_roi(scene, _("New finding"))
    place_box(roi, world)
    roi.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    put_on(roi.GetDisplayNode(), look_of(ACCEPTED, user_made=True, selected=True))
    finding_id = str(uuid.uuid4())
    claim(roi, volume.GetAttribute(RUN_ATTRIBUTE) or "", NEW_BOX_ROLE, finding_id)
    return roi, finding_id


def row_of_segment(
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    segment_id: str,
    volume: slicer.vtkMRMLScalarVolumeNode,
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> Row:
    """A segment of the Segment Editor as a finding with a new id, named like the segment.

    Args:
        segmentation: its geometry may differ from the volume's; the voxels whose middle it covers count.
        volume: the heatmap that the scores come from; of another volume only the grid is taken.
        uncertainty: map on the same grid, or None.

    Raises:
        SceneError: no such segment, it covers no voxel of the image, or stands under another transform than it.
    """
    segment = segmentation.GetSegmentation().GetSegment(segment_id) if segmentation is not None else None
    if segment is None:
        raise SceneError(_("No segment is picked."), _("Draw one in the Segment Editor and pick it."))
    matrix_of(volume)
    if segmentation.GetParentTransformNode() is not volume.GetParentTransformNode():
        raise SceneError(
            _("Segment '{name}' and the image stand under different transforms.").format(name=segment.GetName()),
            _("Put both under the same transform in the module Transforms, or harden it."),
        )
    mask = segment_mask(segmentation, segment_id, volume)
    found = ndimage.find_objects(mask)
    if not found:
        raise SceneError(
            _("Segment '{name}' covers no voxel of the image '{image}'.").format(
                name=segment.GetName(), image=volume.GetName()
            ),
            _("Draw it on this image; one that is smaller than a voxel does not count."),
        )
    k, j, i = found[0]
    box = VoxelBox((i.start, j.start, k.start), (i.stop - 1, j.stop - 1, k.stop - 1))
    scores = box_scores(volume, box, uncertainty, mask[found[0]] > 0)
    return finding_row(box_finding(volume, box, str(uuid.uuid4()), segment.GetName() or LABEL, scores), method="")


def _start(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode, matrix: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """(3,) the voxel (i, j, k) where the slice views cross; the image's middle where that is outside."""
    views = list(nodes_of_class(scene, "vtkMRMLSliceNode"))
    planes = [slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()) for view in views]
    if planes:
        normals = np.array([plane[:3, 2] for plane in planes])
        offsets = np.einsum("ni,ni->n", normals, np.array([plane[:3, 3] for plane in planes]))
        center = to_world(volume, (matrix @ np.append((size - 1) / 2, 1.0))[:3])
        # Fewer than three planes cross in a line or nowhere: then the point nearest to the image's middle.
        crossing = center + np.linalg.lstsq(normals, offsets - normals @ center, rcond=None)[0]
        inside = [0.0, 0.0, 0.0]
        volume.TransformPointFromWorld(crossing.tolist(), inside)
        index = np.floor((np.linalg.inv(matrix) @ np.append(inside, 1.0))[:3] + 0.5).astype(int)
        if ((index >= 0) & (index < size)).all():
            return index
    return (size - 1) // 2
