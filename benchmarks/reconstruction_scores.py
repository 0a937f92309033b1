"""Metrics of ways to use a trained network, from the errors of its restorations; for `reconstruction_ablation.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from reconstruction_restored import Errors, JudgedSlices
from torch import Tensor, nn

from anomalabel.config import ReconstructionSettings
from anomalabel.evaluation.cases import EvaluationCase, Thresholds
from anomalabel.evaluation.images import LoadedCase
from anomalabel.evaluation.metrics.compute import compute_metrics
from anomalabel.evaluation.metrics.pixel_level import PixelSummary, summarise_pixels
from anomalabel.evaluation.metrics.summary import CaseSummary
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.reconstruction.error_maps import inside_cells, on_cells
from anomalabel.reconstruction.healthy_level import ErrorSums, HealthyLevel
from anomalabel.reconstruction.model import ReconstructionModel, kinds_of
from anomalabel.reconstruction.slices import RestorableSlice

METRICS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_dice": "pixel Dice",
    "image_fpr_at_0.5": "false positives",
    "image_tpr_at_0.5": "true positives",
}
"""The last two at the model's own image threshold, Dice at its own pixel threshold."""


@dataclass(frozen=True)
class Judged:
    """Slices and the errors that a network makes on them."""

    slices: JudgedSlices
    errors: Errors

    def on_cells(self, settings: ReconstructionSettings) -> dict[str, Tensor]:
        """Of each kind that counts (N, cells, cells), mean over the mosaics."""
        blocks = settings.mosaic.blocks if settings.saliency != "none" else (None,)
        cells = settings.side // settings.errors.cell
        return {
            kind: torch.stack([on_cells(by_block[block], cells) for block in blocks]).mean(0)
            for kind, by_block in self.errors.items()
            if getattr(settings.errors, kind) > 0
        }


@dataclass(frozen=True)
class Maps:
    """Maps of one setting, which all scores of it share.

    Args:
        held: of each held-out image (slices, cells, cells), with the level of the others.
        held_inside: bool, the same shapes.
        tested: of each test image.
        tested_inside: likewise.
    """

    held: Sequence[Tensor]
    held_inside: Sequence[Tensor]
    tested: Sequence[Tensor]
    tested_inside: Sequence[Tensor]


class Scores:
    """Everything that can be said of one trained network without asking it again.

    Args:
        cases: test images, in the order of `tested`.
        held, tested: slices with errors.
    """

    def __init__(self, cases: Sequence[EvaluationCase], held: Judged, tested: Judged) -> None:
        self._cases, self._held, self._tested = cases, held, tested
        self._maps: dict[str, Maps] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._pixels: dict[str, list[PixelSummary | None]] = {}

    def add_pixels(self, settings: Sequence[ReconstructionSettings], number: int, image: PaintedImage) -> None:
        """Tell what the pixel metrics need of a test image, for each of the settings; images in their order."""
        for one in {_of_maps(one): one for one in settings}.values():
            tested = self.maps(one).tested[number].numpy()
            threshold = self.calibration(one).pixel.value
            self._pixels.setdefault(_of_maps(one), []).append(image.summary(tested, threshold))

    def metrics(self, settings: ReconstructionSettings) -> dict[str, float | None]:
        """Those of `METRICS`; of pixels where masks were told."""
        maps, found = self.maps(settings), self.calibration(settings)
        judge = _model(settings, {})
        pairs = zip(maps.tested, maps.tested_inside, strict=True)
        scores = [max(judge.slice_scores(values, inside)) for values, inside in pairs]
        pixels = self._pixels.get(_of_maps(settings), [None] * len(scores))
        summaries = [
            CaseSummary(case.identity, case.patient, case.abnormal, score, of_pixels, None, None)
            for case, score, of_pixels in zip(self._cases, scores, pixels, strict=True)
        ]
        every = compute_metrics(summaries, Thresholds(found.image.value, found.pixel.value, ""))
        return {name: every[name] for name in METRICS}

    def calibration(self, settings: ReconstructionSettings) -> Calibration:
        """Thresholds from the held-out images, as a training sets them."""
        key = settings.model_dump_json()
        if key not in self._calibrations:
            self._calibrations[key] = self._calibrated(settings)
        return self._calibrations[key]

    def maps(self, settings: ReconstructionSettings) -> Maps:
        """Made once for all settings that differ by the score alone."""
        key = _of_maps(settings)
        if key not in self._maps:
            self._maps[key] = self._made(settings)
        return self._maps[key]

    def _calibrated(self, settings: ReconstructionSettings) -> Calibration:
        maps, judge = self.maps(settings), _model(settings, {})
        pairs = list(zip(maps.held, maps.held_inside, strict=True))
        return Calibration.of(
            [max(judge.slice_scores(values, inside)) for values, inside in pairs],
            [np.where(inside, values, np.nan).astype(np.float32) for values, inside in pairs],
            settings.false_positive_rate,
            settings.pixel_quantile,
            "refitted" if settings.healthy_level else "chosen",
        )

    def _made(self, settings: ReconstructionSettings) -> Maps:
        held, tested = self._held.on_cells(settings), self._tested.on_cells(settings)
        cells = settings.side // settings.errors.cell
        held_inside, tested_inside = (
            inside_cells(one.slices.batch.inside, cells) for one in (self._held, self._tested)
        )
        places, tested_places = self._held.slices.slices_of(), self._tested.slices.slices_of()
        sums = {
            kind: [ErrorSums.of(held[kind][place], held_inside[place]) for place in places]
            for kind in kinds_of(settings)
        }
        totals = {kind: reduce(add, images) for kind, images in sums.items()}
        of_held = []
        for number, place in enumerate(places):
            of_others = {kind: (totals[kind] - sums[kind][number]).level() for kind in totals}
            of_held.append(_model(settings, of_others).map_of({kind: values[place] for kind, values in held.items()}))
        of_tested = _model(settings, {kind: total.level() for kind, total in totals.items()}).map_of(tested)
        return Maps(
            of_held,
            [held_inside[place] for place in places],
            [of_tested[place] for place in tested_places],
            [tested_inside[place] for place in tested_places],
        )


class PaintedImage:
    """A test image on whose own grid maps are judged, as an evaluation does.

    Args:
        loaded: the image and its mask.
        slices: how its slices sit in the network's input.
    """

    def __init__(self, loaded: LoadedCase, slices: Sequence[RestorableSlice]) -> None:
        self._loaded, self._slices = loaded, slices

    def summary(self, maps: np.ndarray, threshold: float) -> PixelSummary | None:
        """Of maps (slices, cells, cells); None where the disease's pixels are unknown."""
        loaded, image = self._loaded, self._loaded.image
        if loaded.lesion is None and loaded.case.abnormal:
            return None
        canvas = MapCanvas(image.prepared.scaled.shape, image.affine_ras)
        for position, one, values in zip(image.positions, self._slices, maps, strict=True):
            canvas.add(position, np.where(one.shown, one.frame.to_source(values), np.nan))
        anomaly_map = loaded.grid.of_map(canvas.mean(image.prepared.seen))
        lesion = np.zeros(anomaly_map.shape, dtype=bool) if loaded.lesion is None else loaded.lesion
        return summarise_pixels(anomaly_map, lesion, threshold)


def _of_maps(settings: ReconstructionSettings) -> str:
    """The settings without what makes a score of a map."""
    return settings.model_copy(update={"score": "max", "score_share": 1.0}).model_dump_json()


def _model(settings: ReconstructionSettings, levels: Mapping[str, HealthyLevel]) -> ReconstructionModel:
    """Turns errors into maps and maps into scores; its network is never asked."""
    return ReconstructionModel(settings, nn.Identity(), levels)
