"""What the parts of the panel that work on the open case's image have in common."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from ..scene.runs import Run
from .board import Board
from .findings import Findings
from .review import Review


class CasePart:
    """A part that changes the open case through `Review`.

    Args:
        run: gives the shown run.
        source: gives the image of the open case.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        board: Board,
        findings: Findings,
        review: Review,
        run: Callable[[], Run | None],
        source: Callable[[], slicer.vtkMRMLScalarVolumeNode | None],
    ) -> None:
        self._scene = scene
        self._board = board
        self._findings = findings
        self._review = review
        self._run = run
        self._source = source
