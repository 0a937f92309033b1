"""The boxes of the shown findings: nodes that are moved and recoloured, and made anew only where too few are there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import slicer

from ..review.matching import ShownFinding
from ..server.report import Finding
from ..translation import _
from .box_edit import end_edit
from .box_looks import Look, look_of, put_on
from .boxes import is_at, modified_once, new_roi, place_box, views_wait
from .ownership import BOX_ROLE, FINDING_ATTRIBUTE, RUN_ATTRIBUTE, claim, owned_nodes
from .runs import Run
from .subject_hierarchy import add_to_folder

NO_RUN = "none"
"""Owner of boxes that readers left on a case whose results are not in the scene."""

MANY_NEW = 4
MANY_MOVED = 50
"""From so many on, holding the views back and refreshing them whole costs less than telling them of each box."""


class ReviewBoxes:
    """Shows findings as boxes; every node is marked as its run's own, so a saved scene brings it back.

    A box that is no longer needed is hidden, left out of saved scenes and used again: adding and removing nodes is
    what takes time. A box that is being dragged is neither moved nor hidden.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._run: Run | None = None
        self._boxes: dict[str, slicer.vtkMRMLMarkupsROINode] = {}
        self._spare: list[slicer.vtkMRMLMarkupsROINode] = []
        self._drawn: dict[str, tuple[Finding, Look]] = {}
        self.rejected_visible = True
        """Whether rejected findings are drawn, faintly; takes effect with the next `show`."""

    def show(self, run: Run | None, findings: Sequence[ShownFinding], selected: str = "") -> None:
        """Bring the boxes in line with findings.

        Args:
            run: whose boxes they are; None for a case without a result. The boxes of other runs are hidden.
            findings: each id once.
            selected: id of the finding that stands out, "" for none.
        """
        if self._is_stale(run):
            self._adopt(run)
        wanted = {each.finding.id for each in findings}
        for finding_id in [known for known in self._boxes if known not in wanted]:
            self._put_aside(finding_id)
        missing = [each.finding.id for each in findings if each.finding.id not in self._boxes]
        moved = {each.finding.id for each in findings if self._has_moved(each)}
        with ExitStack() as waiting:
            if len(missing) - len(self._spare) > MANY_NEW or len(moved) > MANY_MOVED:
                waiting.enter_context(views_wait(self._scene))
            self._give_boxes(missing)
            for each in findings:
                look = look_of(each.status, each.user_made, each.finding.id == selected, self.rejected_visible)
                box = self._boxes[each.finding.id]
                if each.finding.id in moved and box.GetLocked():
                    place_box(box, each.finding)
                with modified_once(box.GetDisplayNode()):
                    put_on(box.GetDisplayNode(), look)

    def box_of(self, finding_id: str) -> slicer.vtkMRMLMarkupsROINode | None:
        """The box of a shown finding; who asks may move it, so the next `show` draws it anew."""
        self._drawn.pop(finding_id, None)
        box = self._boxes.get(finding_id)
        return box if box is not None and box.GetScene() is self._scene else None

    def _has_moved(self, shown: ShownFinding) -> bool:
        """Whether a finding's box is missing or elsewhere."""
        box = self._boxes.get(shown.finding.id)
        return box is None or not is_at(box, shown.finding)

    def _is_stale(self, run: Run | None) -> bool:
        """Whether the known nodes are another run's, or some of them left the scene."""
        nodes = (*self._boxes.values(), *self._spare)
        return run is not self._run or any(node.GetScene() is not self._scene for node in nodes)

    def _adopt(self, run: Run | None) -> None:
        """Take over the boxes that the scene holds of a run, and hide those of all others."""
        self._run = run
        before = (*self._boxes.values(), *self._spare)
        known = {id(box) for box in before}
        self._boxes, self._spare, self._drawn = {}, [], {}
        for box in owned_nodes(self._scene, None, BOX_ROLE):
            if box.GetDisplayNode() is None:
                box.CreateDefaultDisplayNodes()
            if id(box) not in known:
                # A scene may have been saved in the middle of a drag.
                end_edit(box)
            finding_id = box.GetAttribute(FINDING_ATTRIBUTE)
            if box.GetAttribute(RUN_ATTRIBUTE) != self._owner():
                box.GetDisplayNode().SetVisibility(False)
            elif finding_id and finding_id not in self._boxes:
                self._boxes[finding_id] = box
            else:
                self._hide(box)
                self._spare.append(box)

    def _put_aside(self, finding_id: str) -> None:
        box = self._boxes[finding_id]
        if box.GetLocked():
            del self._boxes[finding_id]
            self._drawn.pop(finding_id, None)
            self._hide(box)
            self._spare.append(box)

    def _give_boxes(self, finding_ids: Sequence[str]) -> None:
        """A box for each finding: spare ones first, then fresh ones."""
        fresh = []
        for finding_id in finding_ids:
            if self._spare:
                box = self._spare.pop()
                _keep(box, True)
            else:
                box = self._fresh_box()
                fresh.append(box)
            claim(box, self._owner(), BOX_ROLE, finding_id)
            self._boxes[finding_id] = box
        if fresh and self._run is not None:
            add_to_folder(self._scene, self._run.id, fresh)

    def _fresh_box(self) -> slicer.vtkMRMLMarkupsROINode:
        run = self._run
        box = new_roi(
            self._scene, _("{run} finding").format(run=run.name) if run is not None else _("Reviewed finding")
        )
        box.SetLocked(True)
        if run is not None:
            box.SetAndObserveTransformNodeID(run.heatmap.GetTransformNodeID())
        return box

    def _hide(self, box: slicer.vtkMRMLMarkupsROINode) -> None:
        box.GetDisplayNode().SetVisibility(False)
        box.RemoveAttribute(FINDING_ATTRIBUTE)
        _keep(box, False)

    def _owner(self) -> str:
        return self._run.id if self._run is not None else NO_RUN


def _keep(box: slicer.vtkMRMLMarkupsROINode, kept: bool) -> None:
    """Whether a box is written to saved scenes and listed to the user."""
    box.SetHideFromEditors(not kept)
    box.SetSaveWithScene(kept)
    box.GetDisplayNode().SetSaveWithScene(kept)
