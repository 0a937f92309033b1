"""Draws docs/pictures/slicer_slice_view.png and slicer_panel.png by using the panel as a person would.

Run from the folder slicer_extension, with a result that is made up or asked of a running server:

    python -m slicer_headless.draw_pictures --out ../docs/pictures
    python -m slicer_headless.draw_pictures --out ../docs/pictures --server http://127.0.0.1:8000
    python -m slicer_headless.draw_pictures --out ../docs/pictures --server http://127.0.0.1:8000 --image HEAD.nii.gz
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer

from .example_head import example_result, load_head, planted_head
from .panel import panel_widget, wait_for
from .scene import HeadlessScene, headless_scene, make_importable
from .slice_view import OffscreenSliceView, write_png

VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))
VIEW_SIZE = (400, 440)
PANEL_WIDTH = 430
PATIENCE_S = 600
MADE_UP_ADDRESS = "http://127.0.0.1:8000"


class CannedClient:
    """A client whose server always gives one made-up answer."""

    def __init__(self, voxels: np.ndarray, affine_ras: np.ndarray) -> None:
        self.address = MADE_UP_ADDRESS
        self._voxels = voxels
        self._affine_ras = affine_ras

    def info(self):
        from AnomaLabelLib.server.server_facts import ConfigFacts, ServerFacts, TaskFacts

        words = ("Glioma, Astrocytoma, Oligodendroglioma",), ("Normal, Healthy gray matter",)
        return ServerFacts(
            "0.1.0",
            ("clap_attention", "few_shot_localization", "unet_reconstruction"),
            (ConfigFacts("brain_mri", "Brain MRI", *words),),
            ("embedded",),
            task_facts=(
                TaskFacts(),
                TaskFacts(learns=True, maps=("uncertainty",)),
                TaskFacts(learns=True, maps=("saliency", "reconstruction")),
            ),
        )

    def ready(self) -> None:
        """Always."""

    def studies(self) -> tuple[str, ...]:
        return ("head",)

    def progress(self, request_id: str) -> tuple[int, int]:
        return 0, 0

    def infer(self, parameters, request_id: str, image):
        from AnomaLabelLib.server.client import InferenceResult
        from AnomaLabelLib.server.report import parse_report

        heatmap, report = example_result(self._voxels, self._affine_ras)
        return InferenceResult(parse_report(report), memoryview(heatmap))


def draw(out: Path, server: str | None, image: Path | None) -> None:
    """Write both pictures into a folder.

    Args:
        server: address of a running server, or None for a made-up result.
        image: a NIfTI head to ask the server about, or None for the example head.
    """
    make_importable()
    voxels, affine_ras = planted_head() if image is None else load_head(image)
    canned = (lambda address, settings: CannedClient(voxels, affine_ras)) if server is None else None
    with tempfile.TemporaryDirectory() as folder, headless_scene() as headless:
        views = [OffscreenSliceView(headless, name, plane, VIEW_SIZE) for name, plane in VIEWS]
        volume = add_volume(headless, voxels, affine_ras)
        with panel_widget(headless, Path(folder) / "settings.ini", canned) as widget:
            use_panel(widget, volume, server or MADE_UP_ADDRESS)
            gap = np.full((VIEW_SIZE[1], 4, 3), 255, np.uint8)
            columns = [pixels for view in views for pixels in (view.draw(), gap)][:-1]
            write_png(np.hstack(columns), out / "slicer_slice_view.png")
            widget.parent.resize(PANEL_WIDTH, widget.layout.totalHeightForWidth(PANEL_WIDTH))
            widget.parent.grab().save(str(out / "slicer_panel.png"))
        for view in views:
            view.close()


def add_volume(headless: HeadlessScene, voxels: np.ndarray, affine_ras: np.ndarray) -> slicer.vtkMRMLScalarVolumeNode:
    """The head as a volume of the scene."""
    volume = headless.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head with planted lesion")
    slicer.util.updateVolumeFromArray(volume, voxels)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine_ras))
    volume.CreateDefaultDisplayNodes()
    display = volume.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, float(voxels.max()))
    return volume


def use_panel(widget, volume: slicer.vtkMRMLScalarVolumeNode, address: str) -> None:
    """Connect, run on the volume, go to the first finding."""
    widget.ui.serverAddress.setText(address)
    press(widget, widget.ui.testConnectionButton.click)
    widget.ui.configCombo.setCurrentText("Brain MRI")
    widget.ui.volumeSelector.setCurrentNode(volume)
    press(widget, widget.ui.runButton.click)
    widget.ui.findingsTable.setCurrentCell(0, 0)


def press(widget, act: Callable[[], None]) -> None:
    """Do something in the panel and wait for its end.

    Raises:
        RuntimeError: the panel shows an error.
    """
    act()
    wait_for(lambda: not widget.presenter.busy, PATIENCE_S)
    for notice in (widget.presenter.state.server_notice, widget.presenter.state.notice):
        if notice.is_error:
            raise RuntimeError(f"{notice.cause} {notice.remedy}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the Slicer extension.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--server", help="address of a running server; without it the result is made up")
    parser.add_argument("--image", type=Path, help="a NIfTI head for the server, in place of the example head")
    arguments = parser.parse_args()
    if arguments.image and not arguments.server:
        parser.error("--image needs --server: the made-up result fits the example head alone")
    draw(arguments.out, arguments.server, arguments.image)


if __name__ == "__main__":
    main()
