"""From finding to label: a segment grown inside a box, corrected in the Segment Editor, sent back."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import slicer

from ..errors import PanelError
from ..scene.masks import write_mask
from ..scene.segments import case_segmentation, grow_segment, is_sent, mark_sent, mask_of, segment_findings
from ..translation import _
from .case_part import CasePart
from .errors import no_finding, no_image_of_case, no_result, no_segments
from .panel_state import Notice


class Correction(CasePart):
    """Acts on the case's segments; every method is for the window's thread."""

    @property
    def segmentation(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segments of the open case, for the Segment Editor; None where there are none."""
        source = self._source()
        return None if source is None else case_segmentation(self._scene, source)

    def grow(self) -> None:
        """Turn the selected finding into a segment: what lies above the threshold inside its box."""
        try:
            note = self._grow()
        except PanelError as error:
            self._board.fail(error)
            return
        self.refresh()
        self._board.change(notice=Notice(note, _("Correct it in the Segment Editor, then press Send as label.")))

    def send(self) -> None:
        """Send the segments back as the label of the case: on disk first, then to the server."""
        try:
            source, segmentation = self._source(), self.segmentation
            if source is None:
                raise no_image_of_case()
            if segmentation is None:
                raise no_segments()
            run = self._run()
            # The heatmap has its voxels in the server's own order; the image may have come by another way.
            grid = source if run is None else run.heatmap
            labels, names = mask_of(segmentation, grid)
            if not names:
                raise no_segments()
            content = write_mask(labels, grid)
        except PanelError as error:
            self._board.fail(error)
            return
        digest = hashlib.sha256(content).hexdigest()
        if self._review.segmented(digest, content, segment_findings(segmentation), names):
            mark_sent(segmentation, source)
            self.refresh()
            self._board.change(
                notice=Notice(
                    _("The label is kept. Segments: {count}, voxels: {voxels}.").format(
                        count=len(names), voxels=int(np.count_nonzero(labels))
                    )
                )
            )

    def refresh(self) -> None:
        """Look at the case's segments again: after a case was opened, or the Segment Editor left."""
        source, segmentation = self._source(), self.segmentation
        count, sent = 0, True
        if source is not None and segmentation is not None:
            count, sent = segmentation.GetSegmentation().GetNumberOfSegments(), is_sent(segmentation, source)
        self._board.change(case=replace(self._board.state.case, segments=count, segments_sent=sent))

    def _grow(self) -> str:
        run, source = self._run(), self._source()
        found = self._findings.find(self._board.state.findings.selected)
        if found is None:
            raise no_finding()
        if source is None:
            raise no_image_of_case()
        if run is None:
            raise no_result()
        threshold, finding = self._board.state.run.threshold, found.finding
        placed = grow_segment(self._scene, run.heatmap, source, threshold, finding, finding.label)
        return placed.note or _("The finding is a segment now.")
