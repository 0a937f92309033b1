"""One reader's session over a worklist, by the panel's own keys and buttons, with a picture of every state.

Run from the folder slicer_extension, with a server that serves the cases:

    python -m slicer_headless.review_session --server http://127.0.0.1:8000 --reviewer anna --out ../session \\
        --case HEAD:brain_mri --case XRAY:chest_xray

`--kill-in IMAGE` ends the process with SIGKILL in the middle of that case; the same command without it goes on there.
What was decided is read back from the server at the end and compared with what was pressed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .panel import panel_widget, wait_for
from .pictures import save_state
from .scene import HeadlessScene, headless_scene, make_importable
from .slice_view import OffscreenSliceView

VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))
VIEW_SIZE = (360, 360)
PATIENCE_S = 900.0
LEDGER_NAME = "pressed.jsonl"


@dataclass(frozen=True)
class CasePlan:
    """A case and the anatomy that the reader picks for it."""

    image: str
    config: str


@dataclass
class Session:
    """A reader before the panel; each method is something that a person does.

    Args:
        widget: the module's panel.
        views: the slice views.
        out: folder for pictures and for the list of what was pressed.
    """

    widget: object
    headless: HeadlessScene
    views: list[OffscreenSliceView]
    out: Path
    pictures: list[Path] = field(default_factory=list)

    @property
    def state(self):
        """What the panel shows."""
        return self.widget.presenter.state

    def press(self, command: str) -> None:
        """Press the key of a command and wait until the panel is quiet.

        Raises:
            RuntimeError: the panel shows an error.
        """
        self.widget.act(command)
        self.settle()

    def settle(self) -> None:
        """Wait for what the panel waits for."""
        if not wait_for(lambda: not self.widget.presenter.busy, PATIENCE_S):
            raise RuntimeError("the panel still waits")
        if self.state.notice.is_error:
            raise RuntimeError(f"{self.state.notice.cause} {self.state.notice.remedy}")

    def connect(self, address: str, reviewer: str) -> None:
        """Fill in the settings and connect."""
        ui = self.widget.ui
        ui.reviewerEdit.setText(reviewer)
        ui.reviewerEdit.editingFinished.emit()
        ui.serverAddress.setEditText(address)
        ui.testConnectionButton.click()
        self.settle()
        if self.state.server is None:
            raise RuntimeError(self.state.server_notice.cause)
        self.drain()

    def open(self, plan: CasePlan) -> None:
        """Pick anatomy and case, and wait for the method's result."""
        names = [config.name for config in self.state.server.configs]
        self.widget.ui.configCombo.setCurrentIndex(names.index(plan.config))
        self.widget.presenter.worklist.open(plan.image)
        self.settle()
        self.settle()
        if self.state.case.image != plan.image:
            raise RuntimeError(f"{plan.image} did not open")

    def select(self, status: str) -> str:
        """Go to the first finding of a status; its id, "" where there is none."""
        found = next((row for row in self.state.findings.rows if row.status == status), None)
        if found is None:
            return ""
        self.widget.presenter.findings.select(found.finding.id)
        return found.finding.id

    def drag(self, factor: float) -> None:
        """Drag the box that has handles: larger or smaller around its middle, a small one by some voxels at least."""
        presenter = self.widget.presenter
        box, size = presenter.editing.box, np.array(presenter.editing.box.GetSize())
        least = size + 4 * max(presenter.results.run.heatmap.GetSpacing())
        box.SetSize(*(np.maximum(size * factor, least) if factor > 1 else size * factor))

    def drain(self) -> None:
        """Wait until the server has every act and the worklist is young."""
        wait_for(lambda: not self.widget.presenter.working and self.state.outbox.pending == 0, PATIENCE_S)

    def picture(self, name: str) -> None:
        """Draw views and panel side by side."""
        self.pictures.append(save_state(self.widget, self.views, self.out / f"{name}.png"))

    def note(self, **values: object) -> None:
        """Write down what was done, outside of the panel, for the check at the end."""
        with (self.out / LEDGER_NAME).open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps(values) + "\n")
            ledger.flush()
            os.fsync(ledger.fileno())


def review(session: Session, plan: CasePlan, kill: bool = False) -> None:
    """One case as a reader goes through it: accept, reject, edit, take back, add, correct, give the verdict."""
    reopened = session.state.case.image == plan.image
    if not reopened:
        session.open(plan)
        session.picture(f"{plan.image}_1_opened")
    if session.select("open"):
        _decide(session, plan, "accepted", lambda: session.press("review.accept"))
    if kill:
        session.note(killed=plan.image, selected=session.state.findings.selected)
        os.kill(os.getpid(), signal.SIGKILL)
    if session.select("open"):
        session.widget.ui.reasonCombo.setCurrentIndex(1)
        _decide(session, plan, "rejected", lambda: session.press("review.reject"))
    if session.select("open"):
        session.press("editing.toggle")
        session.drag(1.3)
        session.picture(f"{plan.image}_2_editing")
        _decide(session, plan, "edited", lambda: session.press("editing.toggle"))
        session.press("review.undo")
        session.press("review.redo")
    session.press("editing.add_box")
    _decide(session, plan, "added", lambda: session.press("editing.toggle"))
    session.picture(f"{plan.image}_3_decided")
    if session.select("accepted"):
        session.widget.ui.growButton.click()
        session.settle()
        session.picture(f"{plan.image}_4_segment")
        session.widget.ui.sendSegmentsButton.click()
        session.settle()
    session.press("review.case_abnormal")
    session.note(verdict="abnormal", image=plan.image)
    session.drain()
    session.picture(f"{plan.image}_5_reviewed")


def _decide(session: Session, plan: CasePlan, action: str, act: Callable[[], None]) -> None:
    selected = session.state.findings.edited or session.state.findings.selected
    act()
    session.note(action=action, image=plan.image, finding=selected)


@contextmanager
def seated(out: Path) -> Iterator[Session]:
    """A reader before a fresh Slicer, with the settings and the queue of the last time."""
    out.mkdir(parents=True, exist_ok=True)
    make_importable()
    with headless_scene() as headless:
        views = [OffscreenSliceView(headless, name, plane, VIEW_SIZE) for name, plane in VIEWS]
        with panel_widget(headless, out / "slicer" / "settings.ini") as widget:
            yield Session(widget, headless, views, out)
        for view in views:
            view.close()


def check(session: Session, plans: list[CasePlan]) -> dict[str, dict[str, int]]:
    """Compare what the server keeps with what was pressed.

    Returns:
        By image: number of events, of those pressed, and of event ids that are there twice.

    Raises:
        RuntimeError: an act is missing or counted twice, or a verdict is another.
    """
    pressed = [json.loads(line) for line in (session.out / LEDGER_NAME).read_text().splitlines()]
    client = session.widget.presenter.client
    told: dict[str, dict[str, int]] = {}
    for plan in plans:
        events = client.reviews(plan.image).events
        ids = [event["event_id"] for event in events]
        mine = [each for each in pressed if each.get("image") == plan.image and "action" in each]
        for each in mine:
            kept = [e for e in events if e["action"] == each["action"] and e["finding_id"] == each["finding"]]
            if not kept:
                raise RuntimeError(f"{plan.image}: {each['action']} of {each['finding']} did not arrive")
        told[plan.image] = {"events": len(ids), "pressed": len(mine), "twice": len(ids) - len(set(ids))}
        if told[plan.image]["twice"] or "case_abnormal" not in {event["action"] for event in events}:
            raise RuntimeError(f"{plan.image}: {told[plan.image]}")
    return told


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Review cases of a running server as a reader would.")
    parser.add_argument("--server", required=True, help="address of a running server")
    parser.add_argument("--reviewer", required=True, help="name that stands beside what is decided")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures, settings and queue")
    parser.add_argument("--case", action="append", required=True, metavar="IMAGE:CONFIG", help="in their order")
    parser.add_argument("--kill-in", default="", metavar="IMAGE", help="end by SIGKILL in the middle of this case")
    arguments = parser.parse_args()
    plans = [CasePlan(*case.rsplit(":", 1)) for case in arguments.case]
    with seated(arguments.out) as session:
        session.widget.enter()
        resumed = _resumed(session)
        if not resumed:
            session.connect(arguments.server, arguments.reviewer)
        done = {case.image for case in session.state.worklist.worklist.cases if case.state == "reviewed"}
        for plan in plans:
            if plan.image not in done:
                review(session, plan, kill=plan.image == arguments.kill_in and not resumed)
        session.drain()
        sys.stdout.write(f"{json.dumps(check(session, plans), indent=2)}\n")


def _resumed(session: Session) -> bool:
    """Whether the panel took up the case of the last time by itself; then it stands at the same finding."""
    wait_for(lambda: not session.widget.presenter.working, PATIENCE_S)
    image = session.state.case.image
    if image:
        session.settle()
        session.drain()
        session.picture(f"{image}_resumed")
        selected = session.state.findings.selected
        killed = [json.loads(line) for line in (session.out / LEDGER_NAME).read_text().splitlines() if "killed" in line]
        if killed and (image, selected) != (killed[-1]["killed"], killed[-1]["selected"]):
            raise RuntimeError(f"resumed at {image}, {selected} in place of {killed[-1]}")
        session.note(resumed=image, selected=selected)
    return bool(image)


if __name__ == "__main__":
    main()
