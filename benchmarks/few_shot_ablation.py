"""What each part of few-shot localization carries: added to the plain bank, and taken from the full set.

    python benchmarks/few_shot_ablation.py --config breast_ultrasound --normal DIR --abnormal DIR --healthy DIR \
        --shots 16 --draws 3 --out DIR [--only NAME ...] [--reports CSV] [--teacher MODEL] [--start FILE]

Each variant is a config of its own under OUT and goes through the same `evaluate` with the same draws. What is
finished is not run again, so the same command goes on after an interruption; a variant whose settings changed has
another folder. After a change of the code name another OUT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from few_shot_parts import Part, Side, alone, chosen_parts, full, parts_of, plain, taken

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.loading import load_model
from anomalabel.backbones.text_adapter import write_text_adapter
from anomalabel.config import EMBEDDED, AnatomyConfig, load_config
from anomalabel.errors import AnomaLabelError
from anomalabel.evaluation.cases import EvaluationSet
from anomalabel.evaluation.datasets.folders import list_folders
from anomalabel.evaluation.evaluate import METRICS_FILE, evaluate
from anomalabel.evaluation.protocol import EvaluationRequest
from anomalabel.localization.patch_features import GIBIBYTE, FeatureStore
from anomalabel.training.language_adapter import LanguageAdapterTraining, train_language_adapter
from anomalabel.training.report_sentences import read_reports

METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pixel_dice": "Dice"}
TIME_FILE = "seconds.json"
LOGGER = logging.getLogger("few_shot_ablation")

Draws = Mapping[str, list[float | None]]
"""Value of each metric in each draw."""


class Variants:
    """Runs configs, each once, and knows what came of them.

    Args:
        request: of all of them, but for the config.
        images: to test and to learn from.
        out: a folder for each variant goes in here.
        features: bytes of patch features that are kept for the next variant.
    """

    def __init__(self, request: EvaluationRequest, images: EvaluationSet, out: Path, features: int) -> None:
        self._request, self._images, self._out = request, images, out
        self._features = FeatureStore(features)
        self._encoders = NamedEncoders(request.backbone, request.device)
        self._known: dict[str, Draws | str] = {}

    def result(self, name: str, config: AnatomyConfig) -> Draws | str:
        """Metrics of a variant by draw, or why there are none."""
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        asked = self._request.model_dump_json(exclude={"config", "command"})
        digest = hashlib.sha256(f"{text}{asked}".encode()).hexdigest()[:10]
        if digest not in self._known:
            there = sorted(self._out.glob(f"*-{digest}"))
            folder = there[0] if there else self._out / f"{name}-{digest}"
            self._known[digest] = self._finished(folder) or self._run(folder, text)
        return self._known[digest]

    def _finished(self, folder: Path) -> Draws | None:
        path = folder / METRICS_FILE
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return {metric: found[metric]["draws"] for metric in METRICS if found.get(metric)}

    def _run(self, folder: Path, text: str) -> Draws | str:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "variant.yaml"
        path.write_text(text, encoding="utf-8")
        request = self._request.model_copy(update={"config": str(path)})
        start = time.perf_counter()
        try:
            evaluate(self._images, request, folder, encoders=self._encoders, features=self._features)
        except AnomaLabelError as error:
            LOGGER.warning("%s: %s", folder.name, error)
            return str(error)
        seconds = time.perf_counter() - start
        (folder / TIME_FILE).write_text(json.dumps(round(seconds, 1)), encoding="utf-8")
        # Only an evaluation that was interrupted needs them again.
        shutil.rmtree(folder / "work", ignore_errors=True)
        draws = self._finished(folder) or {}
        LOGGER.info("%s: %.0f s, %s", folder.name, seconds, _cells(draws, None))
        return draws


def compare(part: Part, config: AnatomyConfig, variants: Variants) -> dict[str, Any]:
    """Both comparisons of a part, as ablation.json holds them."""
    row: dict[str, Any] = {"name": part.name, "title": part.title, "not_run": part.missing}
    if part.missing:
        return row
    for column, side in (("alone", alone(part, config)), ("full", taken(part, config))):
        row[column] = None if side is None else _compared(f"{column}-{part.name}", side, variants)
    return row


def _compared(name: str, side: Side, variants: Variants) -> dict[str, Any]:
    base = variants.result(f"{name}-base", side.base)
    found = variants.result(name, side.variant)
    failed = next((one for one in (base, found) if isinstance(one, str)), "")
    if isinstance(base, str) or isinstance(found, str):
        return {"how": side.how, "failed": failed}
    return {"how": side.how, "draws": found, "base": base, "cells": _cells(found, base)}


def _cells(draws: Draws, base: Draws | None) -> list[str]:
    """Mean and standard deviation over the draws, and the same of the differences from the base, draw by draw."""
    cells = []
    for metric in METRICS:
        values = _numbers(draws.get(metric, []))
        text = f"{np.nanmean(values):.3f} ± {np.nanstd(values):.3f}" if np.isfinite(values).any() else "-"
        if base is not None and np.isfinite(values).any():
            difference = values - _numbers(base[metric])
            text += f" ({np.nanmean(difference):+.3f} ± {np.nanstd(difference):.3f})"
        cells.append(text)
    return cells


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def table(rows: Sequence[Mapping[str, Any]], bases: Mapping[str, list[str]], command: str) -> str:
    """The table in Markdown."""
    names = " | ".join(METRICS.values())
    lines = [
        "# Parts of few-shot localization",
        "",
        f"{command}; mean and standard deviation over the draws; in brackets those of the difference, draw by draw.",
        "Dice is pixel Dice at the calibrated threshold. The tasks also decide how many healthy views the bank has.",
        "",
        f"| set | {names} |",
        "|---|" + "---|" * len(METRICS),
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in bases.items()),
        "",
        f"| part | alone, added to | {names} | full set | {names} |",
        "|---|---|" + "---|" * len(METRICS) + "---|" + "---|" * len(METRICS),
    ]
    for row in rows:
        if row["not_run"]:
            lines.append(f"| {row['title']} | not run: {row['not_run']} |" + " |" * (2 * len(METRICS) + 1))
            continue
        cells = [part for column in ("alone", "full") for part in _columns(row[column])]
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _columns(side: Mapping[str, Any] | None) -> list[str]:
    if side is None:
        return ["is the plain bank", *["" for _ in METRICS]]
    if "failed" in side:
        return [f"{side['how']}: {side['failed']}", *["" for _ in METRICS]]
    return [side["how"], *side["cells"]]


def language_adapter(reports: Path | None, model: str, out: Path) -> str | None:
    """File of the language adapter: trained from a CSV of reports into `out`, unless it is one already."""
    if reports is None or reports.suffix != ".csv":
        return None if reports is None else str(reports.resolve())
    path = out / f"language_adapter_{hashlib.sha256(reports.read_bytes()).hexdigest()[:10]}.safetensors"
    if not path.is_file():
        settings = LanguageAdapterTraining()
        trained = train_language_adapter(read_reports(reports, None), load_model(model), settings)
        write_text_adapter(trained.adapter, path, trained.as_json())
    return str(path.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="breast_ultrasound")
    for kind in ("normal", "abnormal", "healthy"):
        parser.add_argument(f"--{kind}", type=Path, action="append", default=[])
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=0)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part; repeatable")
    parser.add_argument("--reports", type=Path, help="CSV of reports, or a language adapter that was trained")
    parser.add_argument("--teacher", help="image-text model")
    parser.add_argument("--start", type=Path, help="file that `anomalabel train episodes` wrote")
    parser.add_argument("--features-gb", type=float, default=4.0, help="memory for patch features")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given.out.mkdir(parents=True, exist_ok=True)
    config = load_config(given.config)
    adapter = language_adapter(given.reports, given.model, given.out)
    parts = parts_of(adapter, given.teacher, str(given.start.resolve()) if given.start else None)
    request = EvaluationRequest(
        config=given.config,
        methods=("few_shot",),
        shots=(given.shots,),
        draws=given.draws,
        backbone=given.model,
        resamples=given.resamples,
        seed=given.seed,
    )
    images = list_folders(given.normal, given.abnormal, given.healthy)
    variants = Variants(request, images, given.out, int(given.features_gb * GIBIBYTE))
    bases: dict[str, list[str]] = {}
    for name, one in (("plain bank", plain(config)), ("full set", full(config))):
        found = variants.result(name.replace(" ", "_"), one)
        bases[name] = [found, *["" for _ in METRICS][1:]] if isinstance(found, str) else _cells(found, None)
    rows = []
    command = f"{given.config}, {given.model}, {given.shots} shots, {given.draws} draws"
    for part in chosen_parts(parts, given.only):
        rows.append(compare(part, config, variants))
        # After each part, so that what is known can be read while the rest runs.
        (given.out / "ablation.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        (given.out / "ablation.md").write_text(table(rows, bases, command), encoding="utf-8")
        LOGGER.info("%d of %d: %s", len(rows), len(chosen_parts(parts, given.only)), part.title)
    print((given.out / "ablation.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
