"""What the embedded model can do on images it was not trained on.

    python benchmarks/embedded_model.py MANIFEST.csv [--images 100] [--model embedded]

Takes the manifest's rows of part "kept_apart" (pictures only), at most so many of each condition, drawn with a fixed
seed; detects with each anatomy's own config and default prompts. Nothing is tuned on them. Prints

- image AUROC of the image score (disease against health texts), where an anatomy has healthy pictures;
- pointing: the share of pictures whose map has its maximum inside the lesion's box or mask, beside chance (the
  lesion's share of what was seen), for CLAP and for the disease texts alone (PLP);
- pointing at lesions planted into healthy pictures.

Intervals: 95 %, bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.metrics import roc_auc_score

from anomalabel.config import DetectionRequest, load_config
from anomalabel.detectors import ClapDetector
from anomalabel.io.read import read_volume
from anomalabel.pipeline import DetectionPipeline
from anomalabel.preprocessing.prepare import PreparedVolume, prepare_volume
from anomalabel.preprocessing.slices import slice_positions
from anomalabel.prompts.render import render_prompts
from anomalabel.training.manifest import ManifestRow, lesion_mask, read_manifest
from anomalabel.training.synthetic import plant_lesion

CONFIGS = {"brain": "brain_mri", "breast": "breast_ultrasound", "chest": "chest_xray"}
DRAWS = 1000
PICTURES = (".jpg", ".jpeg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--model", default="embedded")
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    rows = _chosen(read_manifest(given.manifest), given.images, generator)
    pipeline = DetectionPipeline()
    scores: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    hits: dict[tuple[str, str], list[tuple[bool, float]]] = defaultdict(list)
    for row in track(rows, description="detecting"):
        healthy = row.condition == "healthy"
        volume = read_volume(Path(row.image))
        config = load_config(CONFIGS[row.anatomy])
        prepared = prepare_volume(volume, config.preprocessing)
        lesion = lesion_mask(row, volume) > 0
        if healthy:
            scores[row.anatomy].append((False, _detect(pipeline, given.model, row, volume, prepared, "clap")[0]))
            changed, shape = plant_lesion(prepared.scaled[0], generator)
            prepared = PreparedVolume(changed[None], prepared.seen)
            lesion = (shape > 0.5)[None]
        for method in ("clap", "plp"):
            score, peak = _detect(pipeline, given.model, row, volume, prepared, method)
            if method == "clap" and not healthy:
                scores[row.anatomy].append((True, score))
            if lesion.any():
                chance = float((lesion & prepared.seen).sum() / prepared.seen.sum())
                name = f"{row.anatomy}, {'planted' if healthy else row.condition}"
                hits[name, method].append((bool(lesion[peak]), chance))
    _print(scores, hits)


def _chosen(rows: list[ManifestRow], count: int, generator: np.random.Generator) -> list[ManifestRow]:
    groups = defaultdict(list)
    for row in rows:
        if row.part == "kept_apart" and row.image.endswith(PICTURES):
            groups[row.anatomy, row.condition].append(row)
    return [group[index] for group in groups.values() for index in sorted(generator.permutation(len(group))[:count])]


def _detect(
    pipeline: DetectionPipeline, model: str, row: ManifestRow, volume, prepared: PreparedVolume, method: str
) -> tuple[float, tuple[int, ...]]:
    """Image score and (z, y, x) of the map's maximum."""
    config = load_config(CONFIGS[row.anatomy])
    request = DetectionRequest(config=config.name, method=method)
    detector = ClapDetector(pipeline.model(model), render_prompts(config, request), config, request.method, 0)
    positions = slice_positions(volume, "acquisition", prepared.seen, 0.0)
    detection = detector.detect(prepared, volume.affine_ras, positions, lambda done, total: None)
    peak = np.unravel_index(int(np.nanargmax(detection.anomaly_map)), detection.anomaly_map.shape)
    return detection.image_score, tuple(int(index) for index in peak)


def _print(scores: dict, hits: dict) -> None:
    print("image AUROC (text score)")
    for anatomy, values in scores.items():
        labels, numbers = (np.array(column) for column in zip(*values, strict=True))
        if len(set(labels.tolist())) == 2:
            print(f"  {anatomy:30s} {_with_interval(roc_auc_score, labels, numbers)}")
    print("pointing accuracy (maximum of the map inside the lesion)")
    for (name, method), values in hits.items():
        inside, chance = (np.array(column, dtype=float) for column in zip(*values, strict=True))
        measured = _with_interval(lambda chosen: float(chosen.mean()), inside)
        print(f"  {name:24s} {method:5s} {measured}  chance {chance.mean():.3f}, {inside.mean() / chance.mean():.1f} x")


def _with_interval(metric: Callable[..., float], *columns: NDArray) -> str:
    """The metric over all pictures, its 95 % bootstrap interval, and their number."""
    generator = np.random.default_rng(1)
    count = len(columns[0])
    values = []
    for _ in range(DRAWS):
        rows = generator.integers(count, size=count)
        drawn = [column[rows] for column in columns]
        if len(columns) == 1 or len(np.unique(drawn[0])) == 2:
            values.append(metric(*drawn))
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{metric(*columns):.3f} [{low:.3f}, {high:.3f}]  n={count}"


if __name__ == "__main__":
    sys.exit(main())
