"""What each switch of reconstruction carries: added to the published set, and changed in the config's own.

    python benchmarks/reconstruction_ablation.py --config chest_xray --healthy DIR --normal DIR --abnormal DIR \
        --saliency clap plp none ear --seeds 3 --out DIR [--epochs 20] [--samples 3000] [--trainings config mosaics ...]

A network is trained once for each saliency, way of training and seed. Held-out and test images are restored once, and
all switches that change how a network is used are scored from that; level and thresholds come from the held-out images,
each judged with the level of the others. A seed changes the order of the healthy images (so which of them are held
out), the first weights and the draws; saliency stays the same and comes from the user's cache.

What is finished is not done again, so the same command goes on after an interruption, and an interrupted training from
its last epoch. After a change of the code name another OUT.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from reconstruction_parts import Row, Training, rows, trained, trainings
from reconstruction_restored import (
    HealthySet,
    JudgedSlices,
    errors_of,
    held_out_slices,
    restorable_slices,
    tested_slices,
    trained_network,
)
from reconstruction_scores import METRICS, Judged, PaintedImage, Scores

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import EMBEDDED, AnatomyConfig, DetectionRequest, Saliency, load_config
from anomalabel.detectors.registry import texts_of
from anomalabel.evaluation.datasets.folders import list_folders
from anomalabel.evaluation.images import CaseLoader
from anomalabel.evaluation.shots import draw_shots, healthy_apart
from anomalabel.evaluation.store import hash_of_files, key_of
from anomalabel.localization.stored_features import stored_features
from anomalabel.reconstruction.error_maps import feature_encoder
from anomalabel.reconstruction.saliency import SaliencySources, saliency_sources

ROWS_FILE = "rows.json"
SALIENCY_SEED = 0
USE = {"errors", "healthy_level", "score", "score_share"}
"""Settings of the method that change how a trained network is used, not what it learns."""

NO_SALIENCY = SaliencySources((), "none")
LOGGER = logging.getLogger("reconstruction_ablation")

Metrics = Mapping[str, float | None]


class Images:
    """Healthy and test images, and what stays the same for all saliencies."""

    def __init__(self, given: argparse.Namespace, config: AnatomyConfig) -> None:
        listed = list_folders(given.normal, given.abnormal, given.healthy)
        self.tested, self.healthy = listed.cases, healthy_apart(listed)
        self.masks = any(case.mask is not None for case in self.tested)
        self.loader = CaseLoader(config)
        self.encoders = NamedEncoders(given.model, given.device)
        self.store = stored_features(self.encoders)
        self.encode = feature_encoder(self.encoders.patch_encoder())
        draws = draw_shots(listed, (len(self.healthy),), given.seeds, 0)
        self.orders = [draw.shots for draw in draws]
        self.hashes = {case.identity: hash_of_files(case.image, case.mask) for case in (*self.tested, *self.healthy)}


class Slices:
    """Healthy and test slices with one saliency, made when they are asked for.

    Args:
        config: with the saliency.
        images: where from.
    """

    def __init__(self, config: AnatomyConfig, images: Images) -> None:
        self._config, self._images = config, images

    @cached_property
    def healthy(self) -> HealthySet:
        images = self._images
        LOGGER.info("%s: %d healthy images", self._sources.name, len(images.healthy))
        return HealthySet(images.healthy, images.loader, self._sources, self._config, images.store)

    @cached_property
    def tested(self) -> JudgedSlices:
        images, config = self._images, self._config
        LOGGER.info("%s: %d test images", self._sources.name, len(images.tested))
        cut = (restorable_slices(case, images.loader, self._sources, config, images.store) for case in images.tested)
        return tested_slices(cut, config.reconstruction.mosaic.threshold_sd)

    @cached_property
    def _sources(self) -> SaliencySources:
        texts = texts_of("reconstruction", self._config, DetectionRequest(config=self._config.name))
        encoders, kind = self._images.encoders, self._config.reconstruction.saliency
        return saliency_sources(kind, encoders, texts, self._config, SALIENCY_SEED)


def measured(
    config: AnatomyConfig, wanted: Sequence[Row], seed: int, slices: Slices, images: Images, out: Path, name: str
) -> dict[str, Metrics]:
    """Metrics of each row, by its settings; what was scored before is read."""
    order = images.orders[seed]
    parts = {
        "config": config.model_dump_json(exclude={"reconstruction": USE}),
        "encoder": images.encoders.patch_encoder().identity.model_dump_json(),
        "healthy": [images.hashes[case.identity] for case in order],
        "tested": [images.hashes[case.identity] for case in images.tested],
        "seed": seed,
    }
    digest = key_of(parts)
    folder = out / f"{name}-seed{seed}-{digest[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, Metrics] = _read(folder / ROWS_FILE)
    missing = [row for row in wanted if _key(row) not in known]
    if missing:
        known |= _scored(config, missing, seed, slices, images, folder, digest)
        (folder / ROWS_FILE).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return {_key(row): known[_key(row)] for row in wanted}


def _scored(
    config: AnatomyConfig,
    wanted: Sequence[Row],
    seed: int,
    slices: Slices,
    images: Images,
    folder: Path,
    fingerprint: str,
) -> dict[str, Metrics]:
    device, settings = images.encoders.device, config.reconstruction
    material = slices.healthy.material(images.orders[seed])
    network = trained_network(material, config, seed, device, folder, fingerprint)
    parts = (held_out_slices(material), slices.tested)
    held, tested = (Judged(one, errors_of(network, one, settings, images.encode, device)) for one in parts)
    scores = Scores(images.tested, held, tested)
    if images.masks:
        for number, case in enumerate(images.tested):
            painted = PaintedImage(
                images.loader.load(case), restorable_slices(case, images.loader, NO_SALIENCY, config, None)
            )
            scores.add_pixels([row.settings for row in wanted], number, painted)
    found = {_key(row): scores.metrics(row.settings) for row in wanted}
    LOGGER.info("%s: %d ways to use it are scored", folder.name, len(found))
    return found


def table(results: Sequence[Mapping[str, Any]], told: str) -> str:
    """The tables in Markdown, one for each saliency and training."""
    lines = ["# Switches of reconstruction", "", told, ""]
    for result in results:
        lines += [f"## {result['saliency']}, {result['title']}", "", f"| | {' | '.join(METRICS.values())} |"]
        lines.append("|---|" + "---|" * len(METRICS))
        bases = {row["title"]: row for row in result["rows"] if row["base"] == row["title"]}
        for row in result["rows"]:
            base = bases.get(row["base"]) if row["base"] != row["title"] else None
            name = f"**{row['title']}**" if base is None else row["title"]
            lines.append(f"| {name} | {' | '.join(_cells(row, base))} |")
        lines.append("")
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], base: Mapping[str, Any] | None) -> list[str]:
    """Mean and standard deviation over the seeds, and of AUROCs those of the differences from the base."""
    cells = []
    for metric in METRICS:
        values = _numbers(row["seeds"], metric)
        if not np.isfinite(values).any():
            cells.append("-")
            continue
        text = f"{np.nanmean(values):.3f} ± {np.nanstd(values):.3f}"
        if base is not None and metric.endswith("auroc"):
            difference = values - _numbers(base["seeds"], metric)
            text += f" ({np.nanmean(difference):+.3f} ± {np.nanstd(difference):.3f})"
        cells.append(text)
    return cells


def _numbers(seeds: Sequence[Metrics], metric: str) -> np.ndarray:
    return np.array([np.nan if (value := one[metric]) is None else value for one in seeds], dtype=float)


def _key(row: Row) -> str:
    return row.settings.model_dump_json()


def _read(path: Path) -> dict[str, Metrics]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def arguments() -> argparse.Namespace:
    """As they were typed."""
    names = [training.name for training in trainings((2,))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="chest_xray", help="name, or a YAML file")
    for kind in ("healthy", "normal", "abnormal"):
        parser.add_argument(f"--{kind}", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--saliency", nargs="+", choices=get_args(Saliency), default=["clap", "plp", "none", "ear"])
    parser.add_argument("--trainings", nargs="+", choices=names, default=["config"])
    parser.add_argument("--blocks", type=int, nargs="+", default=(8, 16, 32), help="of the training called mosaics")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=3000, help="drawn in an epoch")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_config(given.config)
    images = Images(given, config)
    told = (
        f"{config.name}, {given.model}, {len(images.healthy)} healthy images, {given.epochs} epochs of {given.samples} "
        f"samples, {len(images.tested)} test images; mean and standard deviation over {given.seeds} seeds, in brackets "
        "those of the difference from the set in bold above, seed by seed."
    )
    results: list[dict[str, Any]] = []
    for saliency in given.saliency:
        slices: Slices | None = None
        for training in trainings(given.blocks):
            if training.name not in given.trainings or (saliency == "none" and training.name == "mosaics"):
                continue
            chosen = trained(config, training, saliency, given.epochs, given.samples)
            slices = slices or Slices(chosen, images)
            every = rows(chosen, training)
            name = f"{saliency}-{training.name}"
            seeds = [measured(chosen, every, seed, slices, images, given.out, name) for seed in range(given.seeds)]
            results.append(_result(saliency, training, every, seeds))
            # After each training, so that what is known can be read while the rest runs.
            (given.out / "ablation.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (given.out / "ablation.md").write_text(table(results, told), encoding="utf-8")
    print((given.out / "ablation.md").read_text(encoding="utf-8"))


def _result(
    saliency: Saliency, training: Training, every: Sequence[Row], seeds: Sequence[Mapping[str, Metrics]]
) -> dict[str, Any]:
    """One training as ablation.json holds it."""
    told = [
        {
            "base": row.base,
            "title": row.title,
            "settings": row.settings.model_dump(mode="json"),
            "seeds": [one[_key(row)] for one in seeds],
        }
        for row in every
    ]
    return {"saliency": saliency, "training": training.name, "title": training.title, "rows": told}


if __name__ == "__main__":
    main()
