"""Pictures to try few-shot localization on, and the README's picture of what comes of it.

    python benchmarks/few_shot_example.py images example
    anomalabel train few-shot --config brain_mri --healthy example/healthy --out example_model
    anomalabel detect example/sick/head_1.png --config brain_mri --method few_shot --model example_model --out results
    python benchmarks/few_shot_example.py picture example/sick/head_1.png results docs/pictures/few_shot.png

All slices are of one averaged head (see `anomalabel.demo.lesion`), so they are more alike than any patients' are, and a
model that learned from them is good for nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from anomalabel.demo.lesion import Head, LesionSettings, load_head, plant_lesion
from anomalabel.finding import FindingsReport
from anomalabel.io.read import read_volume
from anomalabel.outputs import output_paths
from anomalabel.volume import FloatArray

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

LOWEST, HIGHEST = 72, 132
"""Axial slices of the template between which the pictures lie: from the basal ganglia to above the ventricles."""

SHOTS = 16
HEADS = 8
LOWEST_SHOWN = -2.0
"""Standard deviations below healthy patches' mean: there the colours begin."""


def write_images(folder: Path) -> None:
    """Healthy slices to learn from, others to test on that lie between them, and sick ones with the lesion's mask.

    Args:
        folder: gets healthy/, normal/ and sick/.
    """
    head = load_head()
    shots = np.linspace(LOWEST, HIGHEST, SHOTS).round().astype(int)
    between = (shots[:-1] + shots[1:]) // 2
    for name in ("healthy", "normal", "sick"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, chosen in (("healthy", shots), ("normal", between)):
        for k in chosen:
            axial(head.t1, k).save(folder / name / f"slice_{k}.png")
    for number in range(HEADS):
        write_sick(head, between, number, folder / "sick" / f"head_{number}.png")


def write_sick(head: Head, between: np.ndarray, seed: int, path: Path) -> None:
    """The head with a lesion of its own, in the slice of `between` that is nearest to the lesion's middle."""
    planted = plant_lesion(head, LesionSettings(seed=seed))
    middle = planted.center_ras[2] - head.affine_ras[2, 3]
    k = between[np.abs(between - middle).argmin()]
    axial(planted.t1, k).save(path)
    axial(planted.truth * np.float32(255), k).save(path.with_name(f"{path.stem}_mask.png"))


def axial(volume: FloatArray, k: int) -> Image.Image:
    """A slice of an (X, Y, Z) volume, 0 to 255, the face upwards."""
    return Image.fromarray(np.rint(volume[:, ::-1, k].T).astype(np.uint8))


def draw(image: Path, results: Path, out: Path) -> None:
    """Image, map with boxes, and uncertainty of a detection, side by side.

    Args:
        image: with the lesion's mask beside it.
        results: folder that `anomalabel detect` wrote.
        out: PNG file.
    """
    paths = output_paths(results, image)
    report = FindingsReport.model_validate_json(paths.findings.read_text(encoding="utf-8"))
    pixels, anomaly, uncertainty = (read_volume(path).array[0] for path in (image, paths.heatmap, paths.uncertainty))
    truth = read_volume(image.with_name(f"{image.stem}_mask.png")).array[0] > 0
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 4.1), layout="constrained", facecolor="black")
    titles = (
        f"image score {report.image_score:.1f}, abnormal above {report.image_threshold.value:.1f}",
        f"map, findings above {report.threshold.value:.1f}",
        "uncertainty",
    )
    for one, title in zip(axes, titles, strict=True):
        one.imshow(pixels, cmap="gray")
        one.contour(truth, [0.5], colors="lime", linewidths=0.8, linestyles="dotted")
        one.set_title(title, color="white", fontsize=10)
        one.set_axis_off()
    add_colours(axes[1], anomaly, "inferno", LOWEST_SHOWN, max(report.heatmap.max, report.threshold.value))
    add_colours(axes[2], uncertainty, "viridis", 0.0, float(np.nanmax(uncertainty)))
    for finding in report.findings:
        (left, top, _), (right, bottom, _) = finding.index_min, finding.index_max
        corner, width, height = (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1
        axes[1].add_patch(Rectangle(corner, width, height, fill=False, edgecolor="cyan", linewidth=1.2))
    figure.savefig(out, dpi=90, facecolor="black")
    pyplot.close(figure)


def add_colours(axes: Axes, values: FloatArray, colours: str, low: float, high: float) -> None:
    """A map over the image, with its scale."""
    shown = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, alpha=0.7)
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8, fraction=0.05, pad=0.02)
    bar.ax.tick_params(colors="white", labelsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    images = commands.add_parser("images", help="write pictures to learn from and to test on")
    images.add_argument("folder", type=Path)
    picture = commands.add_parser("picture", help="draw what `anomalabel detect` wrote for one of them")
    for name in ("image", "results", "out"):
        picture.add_argument(name, type=Path)
    given = parser.parse_args()
    if given.command == "images":
        write_images(given.folder)
    else:
        draw(given.image, given.results, given.out)


if __name__ == "__main__":
    main()
