"""Cases with known findings, a reader without a window, and a panel with one, for the tests of the panel."""

from __future__ import annotations

import errno
import json
import time

import numpy as np
import slicer
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.server.parameters import RunParameters
from AnomaLabelLib.server.settings import PanelSettings
from example_results import affine, finding, nrrd_bytes, report, volume_node
from slicer_headless.panel import wait_for
from small_server import Reply, result_reply

MATRIX = affine((10, 20, -30), (1, 1.5, 2), (4, 5, 6), (-1, 1, 1))
VOXEL_MM3 = 3.0
SHAPE = (8, 9, 10)
CLAP = RunParameters("clap_attention", "brain_mri", "embedded", ("Glioma",), ("Normal",))

WARM = "11111111-1111-4111-8111-111111111111"
CORNER = "22222222-2222-4222-8222-222222222222"
EDGE = "33333333-3333-4333-8333-333333333333"
"""Ids of the three findings, with scores 0.9, 0.5 and 0.45; a server gives the same ones to the same result."""

PATIENCE_S = 10


def values() -> np.ndarray:
    """(8, 9, 10) three regions above 0.4, and one slice that was not looked at."""
    made = np.full(SHAPE, -0.2, np.float32)
    made[2:5, 3:6, 4:8] = 0.6
    made[3, 4, 5] = 0.9
    made[0:2, 0:2, 0:2] = 0.5
    made[5:7, 6:9, 0:3] = 0.45
    made[7] = np.nan
    return made


def entries() -> list[dict]:
    """The findings at the threshold 0.4."""
    return [
        {**finding(MATRIX, (4, 3, 2), (7, 5, 4), peak=(5, 4, 3), score=0.9), "id": WARM},
        {**finding(MATRIX, (0, 0, 0), (1, 1, 1), peak=(0, 0, 0), score=0.5), "id": CORNER},
        {**finding(MATRIX, (0, 6, 5), (2, 8, 6), peak=(0, 6, 5), score=0.45), "id": EDGE},
    ]


def answer(findings: list[dict] | None = None, **changes) -> Reply:
    """What the server says of a case."""
    told = report(values(), entries() if findings is None else findings, minimum_volume_mm3=VOXEL_MM3)
    text = json.dumps({**told, **changes})
    return result_reply(text, nrrd_bytes(values(), MATRIX))


def few_shot_answer(image_score: float = 0.9) -> Reply:
    """What a calibrated method that learned from healthy images says, with its uncertainty."""
    entries = [{**finding(MATRIX, (4, 3, 2), (7, 5, 4), score=0.9), "uncertainty": 0.125}]
    rule = "99th percentile of 16 held-out healthy images; at most 20 % false positives are promised"
    changes = {
        "image_score": image_score,
        "image_threshold": {"value": 0.75, "rule": f"image: {rule}"},
        "method": "few_shot",
        "config": "liver_ct",
        "model": {"name": "liver_ct", "weights_sha256": "0" * 64},
        "calibrated": True,
        "threshold": {"value": 0.4, "rule": f"pixel: {rule}"},
    }
    text = json.dumps({**report(values(), entries), **changes})
    return result_reply(text, nrrd_bytes(values(), MATRIX), {"uncertainty": nrrd_bytes(np.abs(values()) / 10, MATRIX)})


def reconstruction_answer(*kinds: str) -> Reply:
    """What the method says that restores images, with further maps."""
    changes = {"method": "reconstruction", "config": "liver_ct", "model": {"name": "m", "weights_sha256": "0" * 64}}
    text = json.dumps({**report(values(), []), **changes})
    maps = {kind: nrrd_bytes(np.abs(values()), MATRIX) for kind in kinds}
    return result_reply(text, nrrd_bytes(values(), MATRIX), maps)


def study(seed: int) -> tuple[str, bytes]:
    """File name and content of a case's image."""
    brightness = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) + seed
    return f"study{seed}.nrrd", nrrd_bytes(brightness, MATRIX)


STUDIES = {name: study(seed) for seed, name in enumerate("abcd")}


def world(index) -> np.ndarray:
    """(3,) RAS of a voxel (i, j, k)."""
    return (MATRIX @ [*index, 1.0])[:3]


def crosshair(scene) -> np.ndarray:
    """(3,) where the views stand."""
    return np.array(scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS())


def drag(box, index_min, index_max) -> None:
    """Drag a box over voxels (i, j, k), both inclusive, as the mouse would: one change after the other."""
    low, high = np.array(index_min), np.array(index_max)
    spacing = np.linalg.norm(MATRIX[:3, :3], axis=0)
    size, middle = (high - low + 1) * spacing, world((low + high) / 2)
    placed = slicer.util.arrayFromVTKMatrix(box.GetObjectToNodeMatrix())
    # The box's own axes may be the grid's in another sense; its edges are what counts.
    turn = np.abs(np.linalg.inv(placed[:3, :3]) @ (MATRIX[:3, :3] / spacing))
    placed[:3, 3] = middle
    box.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(placed))
    box.SetSize(*(turn.round() @ size))


def last_event(cases) -> dict:
    """What arrived last of case a."""
    return cases.events["a"][-1]


def disk_full(*_arguments, **_values) -> None:
    """What the system says where nothing fits on the disk any more."""
    raise OSError(errno.ENOSPC, "No space left on device")


class Reader:
    """A presenter as its panel's window would drive it.

    Args:
        folder: where acts are kept.
        reviewer: who reads.
        settings: further settings.
    """

    def __init__(self, scene, folder, reviewer: str = "anna", parameters: RunParameters | None = CLAP, **settings):
        self.scene = scene
        self.now_s = 0.0
        self.states = []
        kept = PanelSettings(reviewer=reviewer, connect_s=1, answer_s=2, result_s=10, **settings)
        self.presenter = Presenter(scene, self.states.append, folder, kept, clock=lambda: self.now_s)
        self.presenter.asking.parameters = parameters

    @property
    def state(self):
        return self.presenter.state

    @property
    def rows(self):
        return self.state.findings.rows

    def drain(self) -> None:
        """Until nothing is under way."""
        end = time.monotonic() + PATIENCE_S
        while self.presenter.working and time.monotonic() < end:
            self.presenter.tick()
        assert not self.presenter.working

    def connect(self, server) -> None:
        self.presenter.connect(server.url)
        self.drain()

    def open(self, image: str) -> None:
        self.presenter.worklist.open(image)
        self.drain()

    def press(self, command: str, *arguments) -> None:
        """Do what a key does."""
        part, name = command.split(".")
        getattr(getattr(self.presenter, part), name)(*arguments)
        self.drain()

    def select(self, finding_id: str) -> None:
        self.presenter.findings.select(finding_id)

    def wait(self, seconds: float) -> None:
        """Let time pass, and the panel's heart beat once."""
        self.now_s += seconds
        self.presenter.heartbeat()
        self.drain()

    def statuses(self) -> dict[str, str]:
        """Of the findings in the table."""
        return {row.finding.id: row.status for row in self.rows}


def pick_volume(widget, scene) -> None:
    """Pick a volume of the user's own as the image to look at."""
    widget.ui.volumeRadio.setChecked(True)
    widget.ui.volumeSelector.setCurrentNode(volume_node(scene, np.ones(SHAPE, np.int16), MATRIX))


def settle(widget) -> None:
    """Let the panel's own timer do the work."""
    assert wait_for(lambda: not widget.presenter.working, PATIENCE_S)


def arrived(widget) -> None:
    """Until the server has every act; those pressed while others are on their way go with the next heartbeat."""
    assert wait_for(lambda: not widget.presenter.working and not widget.presenter.state.outbox.pending, PATIENCE_S)


def sign_in(widget, server, reviewer: str = "anna") -> None:
    """Fill in name and address, and press Connect."""
    widget.ui.reviewerEdit.setText(reviewer)
    widget.ui.reviewerEdit.editingFinished.emit()
    connect(widget, server)


def connect(widget, server) -> None:
    """Fill in the address, and press Connect."""
    widget.ui.serverAddress.setEditText(server.url)
    widget.ui.testConnectionButton.click()
    settle(widget)


def open_case(widget, image: str) -> None:
    """Pick a case in the worklist, and press Open."""
    table = widget.ui.worklistTable
    names = [table.item(row, 0).text() for row in range(table.rowCount())]
    table.setCurrentCell(names.index(image), 0)
    widget.ui.openCaseButton.click()
    settle(widget)


def lines(table) -> list[list[str]]:
    """The texts of a table."""
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]
