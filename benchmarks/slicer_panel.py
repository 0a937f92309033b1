"""Time that the Slicer panel takes to load a result, move its threshold and jump, on slicer-core with made-up data.

    python benchmarks/slicer_panel.py [--repeats 9] [--size 256 256 180] [--without-drawing]

The panel's own parts are timed (result, findings table, boxes, three slice views), without a window. Where offscreen
rendering works, what the three views take to draw themselves stands beside; there it is software on a processor, and in
the application the graphics card's work. Other work on the machine adds to the medians, hardly to the fastest. The
smooth map holds bumps, and the threshold moves from where they grow together to where little is left; the noisy one is
the worst case, each voxel drawn for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nrrd
import numpy as np
import slicer
from slicer.util import updateVolumeFromArray, vtkMatrixFromArray

from anomalabel.finding import FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.findings import extract_findings

EXTENSION = Path(__file__).resolve().parents[1] / "slicer_extension"
sys.path[:0] = [str(EXTENSION), str(EXTENSION / "AnomaLabel")]

from AnomaLabelLib.panel.board import Board  # noqa: E402
from AnomaLabelLib.panel.findings import Findings  # noqa: E402
from AnomaLabelLib.panel.results import Results  # noqa: E402
from AnomaLabelLib.scene.regions import RegionMap  # noqa: E402
from AnomaLabelLib.scene.runs import add_run, delete_run, find_runs  # noqa: E402
from AnomaLabelLib.server.client import InferenceResult  # noqa: E402
from AnomaLabelLib.server.report import parse_report  # noqa: E402
from slicer_headless.scene import HeadlessScene, headless_scene  # noqa: E402
from slicer_headless.slice_view import ORIENTATIONS, OffscreenSliceView, rendering_works  # noqa: E402

VIEW_SIZE = (400, 300)
THRESHOLD = 0.4
FEW, MANY = 30, 200
GOALS_MS = {"load": 1000.0, "threshold": 100.0, "jump": 20.0}
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class Timing:
    """Milliseconds of one act: in panel and scene, and in drawing the three views afterwards."""

    act: list[float] = field(default_factory=list)
    drawing: list[float] = field(default_factory=list)


class Panel:
    """The panel's parts on a scene of their own, with three slice views."""

    def __init__(self, headless: HeadlessScene, draws: bool) -> None:
        self.scene = headless.scene
        self._board = Board(lambda _state: None)
        self.findings = Findings(self.scene, self._board, lambda _finding: None)
        self.results = Results(self.scene, self._board, self.findings)
        self._views = _drawn_views(headless) if draws else []
        if not draws:
            _plain_views(headless)

    @property
    def rows(self) -> int:
        """Lines of the findings table."""
        return len(self._board.state.findings.rows)

    def time(self, timing: Timing, act: Callable[[], object]) -> None:
        """Time an act, and what drawing the views takes then."""
        start = time.perf_counter()
        act()
        done = time.perf_counter()
        timing.act.append((done - start) * 1e3)
        if self._views:
            for view in self._views:
                view.draw()
            timing.drawing.append((time.perf_counter() - done) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--size", type=int, nargs=3, default=(256, 256, 180), metavar=("X", "Y", "Z"))
    parser.add_argument("--without-drawing", action="store_true")
    given = parser.parse_args()
    draws = not given.without_drawing and rendering_works()
    print(_machine())
    print(f"volume {' x '.join(str(extent) for extent in given.size)}, medians of {given.repeats}, milliseconds")
    print(f"{'':44s}{'panel and scene':>18s}{'fastest':>10s}{'drawing 3 views':>18s}")
    for count in (FEW, MANY):
        _time_findings(tuple(given.size), count, given.repeats, draws)
    _time_noise(tuple(given.size))


def _time_findings(size: tuple[int, int, int], count: int, repeats: int, draws: bool) -> None:
    affine_ras = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine_ras[:3, 3] = (120, -130, -90)
    heatmap = _bumps(size, count)
    content, text = _nrrd(heatmap, affine_ras), _report(heatmap, affine_ras)
    load, threshold, jump, sort = Timing(), Timing(), Timing(), Timing()
    with _panel(draws) as panel:
        source = _image(panel.scene, heatmap, affine_ras)
        for turn in range(repeats):

            def load_it() -> None:
                result = InferenceResult(parse_report(text), memoryview(content))
                panel.results.show(add_run(panel.scene, result, source, "run").id)

            panel.time(load, load_it)
            rows = panel.rows
            if turn < repeats - 1:
                panel.results.show("")
                for run in find_runs(panel.scene):
                    delete_run(panel.scene, run.id)
        covered = []
        for value in np.linspace(0.25, 0.65, repeats):
            panel.time(threshold, lambda value=value: panel.results.set_threshold(float(value)))
            covered.append((heatmap > value).mean())
        panel.results.set_threshold(THRESHOLD)
        for place in range(repeats):
            panel.time(jump, lambda place=place: panel.findings.select_place(place % panel.rows))
        for _turn in range(repeats):
            panel.time(sort, lambda: panel.findings.sort("volume"))
    print(f"{rows} findings")
    _tell("load the result", load, GOALS_MS["load"])
    print(f"    (thresholds that leave {min(covered):.0%} to {max(covered):.0%} of the volume)")
    _tell("move the threshold", threshold, GOALS_MS["threshold"])
    _tell("jump to a finding", jump, GOALS_MS["jump"])
    _tell("sort the table", sort, None)


def _time_noise(size: tuple[int, int, int]) -> None:
    noise = RegionMap(np.random.default_rng(0).random(size[::-1], dtype=np.float32))
    print("noise, regions alone")
    for threshold in (0.99, 0.95, 0.5):
        start = time.perf_counter()
        found = noise.at(threshold)
        spent = (time.perf_counter() - start) * 1e3
        print(f"    {1 - threshold:4.0%} above: {found.score.size:7d} regions{'':14s}{spent:16.1f}")


def _tell(name: str, timing: Timing, goal_ms: float | None) -> None:
    goal = f" (goal {goal_ms:g})" if goal_ms is not None else ""
    drawing = f"{statistics.median(timing.drawing):18.1f}" if timing.drawing else f"{'-':>18s}"
    print(f"    {name + goal:40s}{statistics.median(timing.act):18.1f}{min(timing.act):10.1f}{drawing}")


@contextmanager
def _panel(draws: bool) -> Iterator[Panel]:
    with headless_scene() as headless:
        yield Panel(headless, draws)


def _drawn_views(headless: HeadlessScene) -> list[OffscreenSliceView]:
    names = zip(("Red", "Green", "Yellow"), ORIENTATIONS, strict=True)
    return [OffscreenSliceView(headless, name, orientation, VIEW_SIZE) for name, orientation in names]


def _plain_views(headless: HeadlessScene) -> None:
    for name, orientation in zip(("Red", "Green", "Yellow"), ORIENTATIONS, strict=True):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(headless.application)
        logic.SetMRMLScene(headless.scene)
        headless.application.GetSliceLogics().AddItem(logic)
        node = logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetDimensions(*VIEW_SIZE, 1)


def _bumps(size: tuple[int, int, int], count: int) -> np.ndarray:
    """(Z, Y, X) float32 with bumps on a jittered lattice, each apart from the others at the threshold, NaN outside."""
    generator = np.random.default_rng(count)
    depth, height, width = size[::-1]
    grid = [np.arange(extent, dtype=np.float32) for extent in (depth, height, width)]
    values = np.zeros((depth, height, width), np.float32)
    steps = np.ceil(count ** (1 / 3)).astype(int)
    cells = np.argwhere(np.ones((steps,) * 3))
    cell = np.array([depth, height, width]) * 0.9 / steps
    for place in cells[:: max(1, len(cells) // count)][:count]:
        center = (place + 0.5 + generator.uniform(-0.05, 0.05, 3)) * cell + 0.05 * np.array(values.shape)
        radii = cell * generator.uniform(0.36, 0.42, 3)
        fall = [
            np.exp2(-(((axis - middle) / radius) ** 2))
            for axis, middle, radius in zip(grid, center, radii, strict=True)
        ]
        bump = np.float32(generator.uniform(0.75, 1.0)) * fall[0][:, None, None] * fall[1][:, None] * fall[2]
        np.maximum(values, bump, out=values)
    values[:, : height // 25], values[:, -(height // 25) :] = np.nan, np.nan
    return values


def _report(heatmap: np.ndarray, affine_ras: np.ndarray) -> str:
    found = extract_findings(heatmap, affine_ras, THRESHOLD, 100.0, "suspected anomaly", "benchmark")
    report = FindingsReport(
        image="made up",
        method="clap",
        model=ModelIdentity(name="made up", weights_sha256="0" * 64),
        config="brain_mri",
        prompts=PromptTexts(positive=(), negative=()),
        image_score=float(np.nanmax(heatmap)),
        calibrated=False,
        threshold=Threshold(value=THRESHOLD, rule="made up"),
        minimum_volume_mm3=100.0,
        prompt_specificity=None,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(grid=heatmap.shape[::-1], min=float(np.nanmin(heatmap)), max=float(np.nanmax(heatmap))),
        findings=tuple(found),
    )
    return json.dumps(json.loads(report.to_json()))


def _nrrd(heatmap: np.ndarray, affine_ras: np.ndarray) -> bytes:
    affine_lps = LPS_FROM_RAS @ affine_ras
    header = {
        "space": "left-posterior-superior",
        "space directions": affine_lps[:3, :3].T,
        "space origin": affine_lps[:3, 3],
        "encoding": "gzip",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heatmap.nrrd"
        nrrd.write(str(path), np.ascontiguousarray(heatmap.T), header, index_order="F")
        return path.read_bytes()


def _image(scene: slicer.vtkMRMLScene, heatmap: np.ndarray, affine_ras: np.ndarray) -> slicer.vtkMRMLScalarVolumeNode:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    updateVolumeFromArray(node, (np.nan_to_num(heatmap) * 1000).astype(np.int16))
    node.SetIJKToRASMatrix(vtkMatrixFromArray(affine_ras))
    node.CreateDefaultDisplayNodes()
    return node


def _machine() -> str:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
