"""Time and peak memory of `evaluate` on 1,000 generated pictures of 224 x 224.

python benchmarks/evaluation.py [--images 1000] [--side 224] [--method intensity] [--shots 16] [--draws 5]
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from anomalabel.evaluation.datasets.folders import list_folders
from anomalabel.evaluation.evaluate import evaluate
from anomalabel.evaluation.protocol import EvaluationRequest


def write_pictures(folder: Path, count: int, side: int, abnormal: bool, seed: int) -> None:
    """Grey waves with noise; abnormal ones hold a brighter disc and have its mask beside them."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    for number in range(count):
        waves = np.sin(x * generator.uniform(5, 15)) * np.cos(y * generator.uniform(5, 15))
        pixels = 110 + 25 * waves + generator.normal(0, 12, (side, side))
        if abnormal:
            row, column, radius = generator.uniform((0.2, 0.2, 0.03), (0.8, 0.8, 0.12))
            lesion = (y - row) ** 2 + (x - column) ** 2 < radius**2
            pixels += lesion * generator.uniform(15, 60)
            Image.fromarray(lesion.astype(np.uint8) * 255).save(folder / f"{number}_mask.png")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")


def timed(images: Path, request: EvaluationRequest, out: Path) -> float:
    """Seconds of one evaluation."""
    start = time.perf_counter()
    evaluate(list_folders([images / "normal"], [images / "abnormal"]), request, out)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--method", default="intensity")
    parser.add_argument("--shots", default="16")
    parser.add_argument("--draws", type=int, default=5)
    chosen = parser.parse_args()
    request = EvaluationRequest(
        config="breast_ultrasound",
        methods=(chosen.method,),
        shots=tuple(int(count) for count in chosen.shots.split(",")),
        draws=chosen.draws,
    )
    with tempfile.TemporaryDirectory() as folder:
        images, out = Path(folder) / "images", Path(folder) / "out"
        images.mkdir()
        for number, kind in enumerate(("normal", "abnormal")):
            write_pictures(images / kind, chosen.images // 2, chosen.side, bool(number), number)
        first = timed(images, request, out)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        again = timed(images, request, out)
        kept_mb = (out / "work" / "results.sqlite").stat().st_size / 1e6
        auroc = json.loads((out / "metrics.json").read_text())["image_auroc"]["mean"]
    print(
        f"{chosen.images} pictures of {chosen.side} x {chosen.side}, {chosen.method}, shots {chosen.shots}, "
        f"{chosen.draws} draws: {first:.0f} s, again with all results kept {again:.0f} s, "
        f"peak memory {peak_gb:.2f} GB, results kept {kept_mb:.0f} MB, image AUROC {auroc:.3f}"
    )


if __name__ == "__main__":
    main()
