"""Time and memory of few-shot localization: training, inference beside the encoder alone, and dropout uncertainty.

    python benchmarks/few_shot_speed.py [--images DIR] [--config breast_ultrasound] [--model embedded] [--repeats 5]

Without --images pictures of 256 x 256 are generated. Each training is a process of its own with an empty folder for
features; the second one finds those of the first. Times of inference are taken in turn on the same image, and the
fastest of the repetitions counts, so that other work on the machine disturbs little; ratios are medians over images.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from evaluation import write_pictures

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import EMBEDDED, AnatomyConfig, load_config
from anomalabel.detectors.base import Detector, PreparedImage, no_progress
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.registry import build_detector, texts_of
from anomalabel.io.listing import list_images
from anomalabel.io.read import read_volume
from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
from anomalabel.localization.framed_slices import frame_position
from anomalabel.localization.patch_features import FeatureStore, SlicePatches, extract_patches
from anomalabel.pipeline import prepare_image

SHOTS_OF_TRAINING, SHOTS_OF_INFERENCE, TESTED = 16, 32, 8
SIDE = 256
LIMITS = {"minutes": 5.0, "gigabytes": 4.0, "inference": 1.5, "dropout": 3.0}


class SwitchedStore:
    """Features in memory, which a detector finds or not."""

    def __init__(self) -> None:
        self._kept, self.on = FeatureStore(), True

    def find(self, key: bytes) -> SlicePatches | None:
        """What was kept, while switched on."""
        return self._kept.find(key) if self.on else None

    def keep(self, key: bytes, patches: SlicePatches) -> None:
        """Keep features, on or off."""
        self._kept.keep(key, patches)


@dataclass(frozen=True)
class Ready:
    """What inference is measured with.

    Args:
        once: detector without passes of dropout. passes: as the config says.
    """

    config: AnatomyConfig
    encoder: PatchEncoder
    store: SwitchedStore
    once: Detector
    passes: Detector


def train(images: Path, given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Minutes and gigabytes of a training in a process of its own, start-up included."""
    command = [sys.executable, __file__, "--images", str(images), "--config", given.config, "--model", given.model]
    start = time.perf_counter()
    environment = {**os.environ, "ANOMALABEL_CACHE": str(folder / "cache")}
    told = subprocess.run(
        [*command, "--train-into", str(folder / "model"), "--epochs", str(given.epochs)],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    minutes = (time.perf_counter() - start) / 60
    return {"minutes": minutes, **json.loads(told.stdout.splitlines()[-1])}


def train_here(images: Path, given: argparse.Namespace) -> None:
    """One training; tells its peak memory and the seconds of each stage."""
    stages: dict[str, float] = {}
    last, since = "start", time.perf_counter()

    def watch(what: str, done: int, total: int) -> None:
        nonlocal last, since
        now = time.perf_counter()
        stages[last] = stages.get(last, 0.0) + now - since
        last, since = what, now

    request = FewShotTraining(config=given.config, backbone=given.model, shots=SHOTS_OF_TRAINING, epochs=given.epochs)
    paths = [one.image for one in list_images(images)]
    train_few_shot(request, paths, given.train_into, NamedEncoders(given.model), watch)
    watch("end", 1, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"gigabytes": peak, "stages": stages}))


def ready(images: Path, given: argparse.Namespace) -> tuple[Ready, list[Path]]:
    """Detectors that learned from 32 shots, and pictures that they did not see."""
    config = load_config(given.config)
    # What is learned decides no time of inference.
    config = _with(config, training=config.few_shot.training.model_copy(update={"epochs": 1}))
    encoders, store = NamedEncoders(given.model), SwitchedStore()
    paths = [one.image for one in list_images(images)]
    shots = tuple(prepare_image(read_volume(path), config) for path in paths[:SHOTS_OF_INFERENCE])
    silent = _with(config, uncertainty=config.few_shot.uncertainty.model_copy(update={"passes": 0}))
    once, passes = (
        build_detector(
            "few_shot", BuildContext(settings, texts_of("few_shot", settings), encoders, shots, features=store)
        )
        for settings in (silent, config)
    )
    tested = paths[SHOTS_OF_INFERENCE : SHOTS_OF_INFERENCE + TESTED]
    return Ready(config, encoders.patch_encoder(), store, once, passes), tested


def _with(config: AnatomyConfig, **settings: object) -> AnatomyConfig:
    return config.model_copy(update={"few_shot": config.few_shot.model_copy(update=settings)})


def inference(made: Ready, path: Path, repeats: int) -> dict[str, float]:
    """Seconds of each step on one picture, the fastest of the repetitions."""
    image = prepare_image(read_volume(path), made.config)
    framed = frame_position(
        image.prepared, image.affine_ras, image.positions[0], made.encoder.side, made.config.preprocessing
    )
    tensor = torch.from_numpy(framed.image)[None]
    preprocessing, positions = made.config.preprocessing, image.positions
    steps: Mapping[str, tuple[bool, Callable[[], object]]] = {
        "detect": (False, lambda: _detect(made.once, image)),
        "encoder": (False, lambda: made.encoder.patch_features(tensor)),
        "after": (True, lambda: _detect(made.once, image)),
        "hash": (
            True,
            lambda: extract_patches(
                made.encoder, preprocessing, image.prepared, image.affine_ras, positions, made.store
            ),
        ),
        "dropout": (False, lambda: _detect(made.passes, image)),
        "file": (False, lambda: _detect(made.once, prepare_image(read_volume(path), made.config))),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, (known, step) in steps.items():
            made.store.on = known
            times[name].append(_seconds(step))
    return {name: min(values[1:]) for name, values in times.items()}


def _detect(detector: Detector, image: PreparedImage) -> object:
    return detector.detect(image.prepared, image.affine_ras, image.positions, no_progress)


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def report(trained: list[dict[str, float]], rows: list[dict[str, float]]) -> str:
    """Rows of Markdown."""
    times = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    lines = ["| what | measured | limit |", "|---|---|---|"]
    for name, one in zip(("training, 16 shots", "again, features at hand"), trained, strict=False):
        lines.append(f"| {name}: minutes | {one['minutes']:.2f} | {LIMITS['minutes']:g} |")
        lines.append(f"| {name}: peak memory, GB | {one['gigabytes']:.2f} | {LIMITS['gigabytes']:g} |")
    if rows:
        # Finding what is kept costs a hash of the picture, which an encoder's own pass does not.
        scored = times["encoder"] + times["after"] - times["hash"]
        for name, seconds in {"encoder alone": times["encoder"], "detect, 10 passes": times["dropout"]}.items():
            lines.append(f"| {name}: ms | {1e3 * np.median(seconds):.1f} | |")
        ratios = {
            "encoding, scoring and map, times the encoder alone": (scored, times["encoder"], LIMITS["inference"]),
            "the same with denoising and framing": (times["detect"], times["encoder"], None),
            "the same with reading and preparing the file": (times["file"], times["encoder"], None),
            "10 passes of dropout, times none": (times["dropout"], times["detect"], LIMITS["dropout"]),
        }
        for name, (above, below, limit) in ratios.items():
            lines.append(f"| {name} | {np.median(above / below):.2f} | {limit or ''} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of healthy images, at least 40")
    parser.add_argument("--config", default="breast_ultrasound")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("training", "inference"))
    parser.add_argument("--train-into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train_into is not None:
        train_here(given.images, given)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = given.images or folder / "images"
        if given.images is None:
            write_pictures(images, SHOTS_OF_INFERENCE + TESTED, SIDE, abnormal=False, seed=0)
        trained, rows = [], []
        if given.only != "inference":
            trained = [train(images, given, folder) for _ in range(2)]
            for one in trained:
                print({stage: round(seconds, 1) for stage, seconds in one["stages"].items()}, file=sys.stderr)
        if given.only != "training":
            made, tested = ready(images, given)
            rows = [inference(made, path, given.repeats) for path in tested]
    print(f"{torch.get_num_threads()} threads, {given.config}, {given.model}\n")
    print(report(trained, rows))


if __name__ == "__main__":
    main()
