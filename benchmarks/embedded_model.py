"""What `anomalabel evaluate` does not measure of an image-text model.

    python benchmarks/embedded_model.py prompts MANIFEST.csv [--images 60] [--model embedded]
    python benchmarks/embedded_model.py cost [--model embedded]

`prompts`: on pictures of part "kept_apart" (the same number of each anatomy's diseased ones, drawn with a fixed seed),
Spearman's rank correlation between the CLAP map for the right disease and the one for another organ's disease, both
against the anatomy's own health text, over the patches that were seen; and the share of images where it is below 0.8.

`cost`: size of the weights and median time of one image's forward pass.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy.stats import spearmanr

from anomalabel.backbones.check import check_model
from anomalabel.backbones.loading import find_model_folder, find_weights
from anomalabel.config import DetectionRequest
from anomalabel.pipeline import DetectionPipeline
from anomalabel.training.manifest import ManifestRow, read_manifest

CONFIGS = {"brain": "brain_mri", "breast": "breast_ultrasound", "chest": "chest_xray"}
RIGHT = {"brain": "glioma", "breast": "breast tumor", "chest": "pneumonia"}
WRONG = {"brain": "pneumonia", "breast": "glioma", "chest": "breast tumor"}
HEALTH = {"brain": "normal, healthy brain", "breast": "normal, healthy breast", "chest": "normal, healthy chest"}
ALIKE = 0.8
PICTURES = (".jpg", ".jpeg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prompts", "cost"))
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--model", default="embedded")
    given = parser.parse_args()
    if given.what == "cost":
        weights = find_weights(find_model_folder(given.model))
        facts = check_model(given.model)
        print(f"weights {weights.stat().st_size / 1e6:.1f} MB; one image {facts.milliseconds:.0f} ms, {facts.dtype}")
    elif given.manifest is None:
        parser.error("prompts needs the manifest")
    else:
        _compare_prompts(read_manifest(given.manifest), given.images, given.model)


def _compare_prompts(rows: list[ManifestRow], count: int, model: str) -> None:
    pipeline = DetectionPipeline()
    generator = np.random.default_rng(0)
    groups = defaultdict(list)
    for row in rows:
        if row.part == "kept_apart" and row.image.endswith(PICTURES) and row.condition != "healthy":
            groups[row.anatomy].append(row)
    print("| anatomy | images | right word | wrong organ's word | rank correlation, median | share below 0.8 |")
    print("|---|---|---|---|---|---|")
    for anatomy, candidates in sorted(groups.items()):
        chosen = [candidates[number] for number in generator.permutation(len(candidates))[:count]]
        values = []
        for row in track(chosen, description=anatomy):
            right, wrong = (_map(pipeline, model, row, words[anatomy]) for words in (RIGHT, WRONG))
            seen = np.isfinite(right)
            values.append(float(spearmanr(right[seen], wrong[seen]).statistic))
        below = float(np.mean(np.array(values) < ALIKE))
        words = f"{RIGHT[anatomy]} | {WRONG[anatomy]}"
        print(f"| {anatomy} | {len(values)} | {words} | {np.median(values):.2f} | {below:.2f} |")


def _map(pipeline: DetectionPipeline, model: str, row: ManifestRow, positive: str) -> np.ndarray:
    request = DetectionRequest(
        config=CONFIGS[row.anatomy], backbone=model, positive=(positive,), negative=(HEALTH[row.anatomy],)
    )
    # Every fourth pixel: the map is interpolated from patches of sixteen.
    return pipeline.detect(Path(row.image), request).anomaly_map[0, ::4, ::4]


if __name__ == "__main__":
    main()
