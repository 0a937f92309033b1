"""Draws docs/pictures/slicer_few_shot.png: what a model that learned from made-up healthy pictures says about one more.

Run from the folder slicer_extension, with a server whose studies folder may be written to:

    python -m slicer_headless.draw_few_shot --server http://127.0.0.1:8000 --studies FOLDER --out ../docs/pictures
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import requests
import slicer
from PIL import Image

from .draw_pictures import press
from .example_ultrasound import made_up_picture
from .panel import panel_widget
from .scene import headless_scene, make_importable
from .slice_view import OffscreenSliceView, write_png

CONFIG, TITLE = "breast_ultrasound", "Breast ultrasound"
SHOTS = 16
LESION_SEED = 99
FOLDER = "made-up-healthy"
VIEW_SIZE = (400, 400)
PATIENCE_S = 600


def train(server: str, studies: Path) -> None:
    """Have the server learn from made-up healthy pictures, which are put into a folder of its studies.

    Raises:
        RuntimeError: the training failed.
    """
    folder = studies / FOLDER
    folder.mkdir(exist_ok=True)
    for seed in range(SHOTS):
        Image.fromarray(made_up_picture(seed)).save(folder / f"{seed}.png")
    asked = {"config": CONFIG, "healthy": FOLDER, "shots": SHOTS}
    answer = requests.post(f"{server}/train/few_shot_localization", json=asked, timeout=30)
    answer.raise_for_status()
    end = time.monotonic() + PATIENCE_S
    while (status := requests.get(f"{server}/train/", timeout=30).json())["status"] == "RUNNING":
        if time.monotonic() > end:
            raise RuntimeError("The training takes too long.")
        time.sleep(1)
    if status["status"] != "DONE":
        raise RuntimeError(status["error"] or status["status"])


def draw(server: str, out: Path) -> None:
    """Write the picture: image, heatmap and uncertainty of a made-up lesion, side by side."""
    make_importable()
    with tempfile.TemporaryDirectory() as folder, headless_scene() as headless:
        view = OffscreenSliceView(headless, "Red", "Axial", VIEW_SIZE)
        volume = headless.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Made-up ultrasound")
        slicer.util.updateVolumeFromArray(volume, made_up_picture(LESION_SEED, lesion=True)[None])
        # A picture's rows run down, and the axial view shows patients from below.
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.diag([-1.0, -1.0, 1.0, 1.0])))
        volume.CreateDefaultDisplayNodes()
        with panel_widget(headless, Path(folder) / "settings.ini") as widget:
            ui = widget.ui
            ui.serverAddress.setText(server)
            press(widget, ui.testConnectionButton.click)
            ui.taskCombo.setCurrentText("few_shot_localization")
            ui.configCombo.setCurrentText(TITLE)
            ui.volumeSelector.setCurrentNode(volume)
            press(widget, ui.runButton.click)
            drawn = [_drawn(view, ui, heatmap=False), _drawn(view, ui, heatmap=True)]
            ui.uncertaintyCheck.setChecked(True)
            drawn.append(view.draw())
            gap = np.full((VIEW_SIZE[1], 4, 3), 255, np.uint8)
            write_png(np.hstack([part for pixels in drawn for part in (pixels, gap)][:-1]), out / "slicer_few_shot.png")
        view.close()


def _drawn(view: OffscreenSliceView, ui, heatmap: bool) -> np.ndarray:
    for check in (ui.heatmapCheck, ui.boxesCheck):
        check.setChecked(heatmap)
    return view.draw()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw what few-shot localization looks like in 3D Slicer.")
    parser.add_argument("--server", required=True, help="address of a running server")
    parser.add_argument("--studies", type=Path, required=True, help="its studies folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture")
    arguments = parser.parse_args()
    train(arguments.server, arguments.studies)
    draw(arguments.server, arguments.out)


if __name__ == "__main__":
    main()
