"""Draws docs/pictures/slicer_*.png: a reader's day with made-up studies, a server of our own and models it trains.

Run from the folder slicer_extension:

    python -m slicer_headless.draw_review --out ../docs/pictures
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .example_studies import HEAD, HEADS, HEALTHY_HEADS, HEALTHY_PICTURES, SHOTS, make_studies
from .own_server import free_port, own_server
from .panel import wait_for
from .pictures import panel_picture, save_state, widget_picture
from .review_session import CasePlan, Session, seated
from .slice_view import OffscreenSliceView, write_png

REVIEWER = "anna"
BREAST, BRAIN = "breast_ultrasound", "brain_mri"
FEW_SHOT, CLAP = "few_shot_localization", "clap_attention"
REVIEW, CASES, ASK, TRAIN, SETTINGS = range(5)
EXTENSION = Path(__file__).resolve().parents[1]
COMPARE_SIZE = (360, 360)
PATIENCE_S = 600
HEAD_THRESHOLD = 5.0
"""About the score that healthy heads stay below; the map's own threshold shows more."""


def draw(out: Path) -> None:
    """Write all pictures into a folder, and copies of those that the extension's page shows beside that page."""
    with tempfile.TemporaryDirectory(prefix="anomalabel-pictures-") as temporary:
        studies, port, kept = Path(temporary) / "studies", free_port(), Path(temporary) / "session"
        make_studies(studies)
        with seated(kept) as session:
            with own_server(studies, port) as address:
                session.widget.enter()
                session.connect(address, REVIEWER)
                settings(session, out)
                train(session, out)
                worklist(session, out)
                review(session, out)
                compare(session, out)
                reading_first(session, out)
                head(session, out)
            offline(session, out)
        with own_server(studies, port), seated(kept) as session:
            resumed(session, out)
    page = EXTENSION / "README.md"
    for picture in sorted(out.glob("slicer_*.png")):
        if f"Screenshots/{picture.name}" in page.read_text(encoding="utf-8"):
            shutil.copy(picture, EXTENSION / "Screenshots" / picture.name)


def settings(session: Session, out: Path) -> None:
    """Where the panel is told of the server and of the reader; and the card of keys."""
    write_png(panel_picture(session.widget, SETTINGS), out / "slicer_settings.png")
    session.widget.show_help()
    write_png(widget_picture(session.widget.help_card), out / "slicer_keys.png")
    session.widget.show_help()


def train(session: Session, out: Path) -> None:
    """Have the server learn from healthy pictures, then from healthy heads."""
    press_train(session, BREAST, HEALTHY_PICTURES, SHOTS)
    wait_for(lambda: not training(session).running or training(session).percent > 0, PATIENCE_S)
    write_png(panel_picture(session.widget, TRAIN), out / "slicer_training.png")
    end_training(session)
    press_train(session, BRAIN, HEALTHY_HEADS, HEADS)
    end_training(session)


def press_train(session: Session, config: str, folder: str, shots: int) -> None:
    """Fill in the tab and start."""
    ui = session.widget.ui
    ui.trainTaskCombo.setCurrentText(FEW_SHOT)
    ui.trainConfigCombo.setCurrentIndex([each.name for each in session.state.server.configs].index(config))
    ui.healthyEdit.setText(folder)
    ui.trainOptionsEdit.setText(f"shots={shots}")
    ui.startTrainingButton.click()
    wait_for(lambda: training(session) is not None and training(session).config == config, PATIENCE_S)


def end_training(session: Session) -> None:
    """Wait for the new model."""
    wait_for(lambda: not training(session).running, PATIENCE_S)
    if training(session).status != "DONE":
        raise RuntimeError(training(session).error or training(session).status)
    session.drain()


def training(session: Session):
    """How far the server's training is."""
    return session.state.training.training


def worklist(session: Session, out: Path) -> None:
    """Have all cases scored, and sort them by what the model says."""
    choose(session, BREAST, FEW_SHOT)
    session.widget.ui.searchEdit.setText("breast")
    session.widget.ui.startScoringButton.click()
    wait_for(lambda: session.state.training.scoring is not None, PATIENCE_S)
    wait_for(lambda: not session.state.training.scoring.running, PATIENCE_S)
    session.drain()
    session.widget.presenter.worklist.set_order("most_anomalous")
    session.drain()
    write_png(panel_picture(session.widget, CASES), out / "slicer_panel.png")


def review(session: Session, out: Path) -> None:
    """Accept, reject, edit and add, then turn a finding into a segment."""
    widget = session.widget
    session.open(CasePlan("breast_1", BREAST))
    plain_heat_unsure(session, out)
    session.select("open")
    session.press("review.accept")
    if session.select("open"):
        widget.ui.reasonCombo.setCurrentIndex(2)
        session.press("review.reject")
    session.press("editing.add_box")
    session.drag(0.7)
    save_state(widget, session.views[:1], out / "slicer_editing.png", REVIEW)
    session.press("editing.toggle")
    session.select("accepted")
    save_state(widget, session.views, out / "slicer_review.png", REVIEW)
    session.select("accepted")
    widget.ui.growButton.click()
    session.settle()
    save_state(widget, session.views, out / "slicer_correction.png", REVIEW)
    widget.ui.sendSegmentsButton.click()
    session.press("review.case_abnormal")
    session.drain()


def plain_heat_unsure(session: Session, out: Path) -> None:
    """The image alone, with heatmap and boxes, and with the uncertainty over them."""
    ui, view = session.widget.ui, session.views[0]
    drawn = []
    for heatmap, unsure in ((False, False), (True, False), (True, True)):
        for check in (ui.heatmapCheck, ui.boxesCheck):
            check.setChecked(heatmap)
        ui.uncertaintyCheck.setChecked(unsure)
        drawn.append(view.draw())
    ui.uncertaintyCheck.setChecked(False)
    beside(drawn, out / "slicer_few_shot.png")


def compare(session: Session, out: Path) -> None:
    """A second method on the same case, beside the first."""
    choose(session, BREAST, CLAP)
    session.widget.ui.runButton.click()
    session.settle()
    # The application's layout manager makes these views as soon as the layout is set.
    layout = session.headless.scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    views = [OffscreenSliceView(session.headless, f"AnomaLabel{place}", "Axial", COMPARE_SIZE) for place in (1, 2)]
    session.widget.ui.compareCombo.setCurrentIndex(1)
    session.settle()
    for view in views:
        view.fit()
    beside([view.draw() for view in views], out / "slicer_compare.png")
    session.widget.ui.compareCombo.setCurrentIndex(0)
    for view in views:
        view.close()
    session.widget.presenter.results.delete_shown()


def reading_first(session: Session, out: Path) -> None:
    """A case whose hint is withheld until the reader has spoken."""
    check = session.widget.ui.readingFirstCheck
    check.setChecked(True)
    session.open(CasePlan("breast_2", BREAST))
    save_state(session.widget, session.views, out / "slicer_reading_first.png", REVIEW)
    session.press("review.case_normal")
    session.press("review.case_normal")
    check.setChecked(False)
    session.drain()


def head(session: Session, out: Path) -> None:
    """A volume in all three views."""
    choose(session, BRAIN, FEW_SHOT)
    session.widget.ui.searchEdit.setText("")
    session.open(CasePlan(HEAD, BRAIN))
    session.widget.ui.thresholdSlider.setValue(HEAD_THRESHOLD)
    session.select("open")
    beside([view.draw() for view in session.views], out / "slicer_slice_view.png")


def offline(session: Session, out: Path) -> None:
    """The server is gone: acts are kept, and the panel says so."""
    if session.select("open"):
        session.press("review.accept")
    session.press("review.case_abnormal")
    wait_for(lambda: session.state.outbox.notice.is_error, PATIENCE_S)
    write_png(panel_picture(session.widget, REVIEW), out / "slicer_offline.png")


def resumed(session: Session, out: Path) -> None:
    """Slicer started again: the same case and finding, and what waited is sent."""
    session.widget.enter()
    wait_for(lambda: session.state.run is not None, PATIENCE_S)
    session.drain()
    save_state(session.widget, session.views, out / "slicer_resumed.png", REVIEW)


def choose(session: Session, config: str, task: str) -> None:
    """Pick anatomy and method under Ask."""
    ui = session.widget.ui
    ui.configCombo.setCurrentIndex([each.name for each in session.state.server.configs].index(config))
    ui.taskCombo.setCurrentText(task)


def beside(drawn: list[np.ndarray], path: Path) -> None:
    """Write pictures of one height side by side."""
    gap = np.full((drawn[0].shape[0], 4, 3), 255, np.uint8)
    write_png(np.hstack([part for pixels in drawn for part in (pixels, gap)][:-1]), path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the Slicer extension.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
