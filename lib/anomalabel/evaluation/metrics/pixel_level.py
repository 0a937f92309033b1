"""Metrics of pixels: ranked by the map, cut at its threshold, and their outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.metrics.aupro import aupro, region_weights
from anomalabel.evaluation.metrics.confusion import Confusion
from anomalabel.evaluation.metrics.pixel_pool import PixelPool, PixelRanks
from anomalabel.evaluation.metrics.ranking import Numbers, auroc, average_precision, best_f1, divide
from anomalabel.evaluation.metrics.sketch import sketch
from anomalabel.evaluation.metrics.surface import SurfaceDistances, surface_distances
from anomalabel.volume import FloatArray


@dataclass(frozen=True, eq=False)
class PixelSummary:
    """All that the pixel metrics need of one case whose lesion pixels are known.

    Args:
        ranks: values of pixels inside and outside the lesion.
        tp: lesion pixels from the threshold on; `tn`, `fp` and `fn` likewise. An unseen pixel of a lesion counts as
            missed (`fn`); an unseen pixel elsewhere is left out.
        surface: of the prediction's and the lesion's outlines; None without a lesion or without a threshold.
    """

    ranks: PixelRanks
    tp: int
    tn: int
    fp: int
    fn: int
    surface: SurfaceDistances | None

    @property
    def dice(self) -> float | None:
        """Dice coefficient of this image at the threshold; None without a lesion or without a threshold."""
        return None if self.surface is None else 2 * self.tp / (2 * self.tp + self.fp + self.fn)

    @property
    def auroc(self) -> float | None:
        """AUROC over the pixels of this image alone; None without lesion pixels or without others."""
        pool = PixelPool([self.ranks])
        value = float(auroc(*pool.counts(np.ones((1, 1)))[:2])[0])
        return None if np.isnan(value) else value


def summarise_pixels(anomaly_map: FloatArray, lesion: NDArray[np.bool_], threshold: float) -> PixelSummary:
    """Reduce a map (Y, X) or (Z, Y, X), NaN = unseen, and a lesion of the same shape to what its metrics need.

    Args:
        anomaly_map: finite or NaN. A lesion pixel that is NaN ranks below every seen pixel.
        lesion: all False for a healthy case.
        threshold: value from which a pixel is called abnormal; not finite where there is none.
    """
    seen = np.isfinite(anomaly_map)
    called = seen & (anomaly_map >= threshold)
    weights, regions = region_weights(lesion)
    inside = np.where(seen[lesion], anomaly_map[lesion], -np.inf)
    hits, calls, lesion_pixels = (int(np.count_nonzero(part)) for part in (called & lesion, called, lesion))
    return PixelSummary(
        ranks=PixelRanks(sketch(anomaly_map[seen & ~lesion]), sketch(inside), sketch(inside, weights), regions),
        tp=hits,
        tn=int(np.count_nonzero(seen & ~lesion)) - (calls - hits),
        fp=calls - hits,
        fn=lesion_pixels - hits,
        surface=surface_distances(called, lesion) if np.isfinite(threshold) else None,
    )


class PixelMetrics:
    """Pixel metrics of many cases, over and over for different weights of the cases.

    Args:
        cases: None where a case's lesion pixels are unknown; it is left out.
        resolution: None ranks all values of the sketches; a number pools them further, for resampling.
    """

    def __init__(self, cases: Sequence[PixelSummary | None], resolution: int | None = None) -> None:
        self._known = [number for number, case in enumerate(cases) if case is not None]
        known = [case for case in cases if case is not None]
        self._pool = PixelPool([case.ranks for case in known], resolution)
        self._table = np.array([(case.tp, case.tn, case.fp, case.fn) for case in known], dtype=np.float64)
        self._per_image = np.array(
            [
                (case.dice, case.surface.hausdorff, case.surface.hd95, case.surface.boundary_f1)
                if case.surface is not None
                else (np.nan,) * 4
                for case in known
            ],
            dtype=np.float64,
        )

    def evaluate(self, weights: Numbers) -> dict[str, Numbers]:
        """Every pixel metric as (resamples,) of case weights (resamples, cases).

        All are NaN where no image with a lesion is among the cases: without a mask nothing is said about pixels.
        AUROC, AUPRC, AUPRO and the counts pool the pixels of all images, healthy ones too; `pixel_dice_per_image`,
        Hausdorff, HD95 (in pixels) and boundary F1 are means over the images that have a lesion.
        """
        weights = weights[:, self._known]
        lesions, others, regions = self._pool.counts(weights)
        tp, tn, fp, fn = (weights @ self._table.reshape(-1, 4)).T
        confusion = Confusion(tp, tn, fp, fn)
        dice, hausdorff, hd95, boundary_f1 = self._means_over_lesions(weights)
        values = {
            "pixel_auroc": auroc(lesions, others),
            "pixel_auprc": average_precision(lesions, others),
            "pixel_aupro": aupro(regions, others),
            "pixel_accuracy": confusion.accuracy,
            "pixel_precision": confusion.precision,
            "pixel_recall": confusion.recall,
            "pixel_specificity": confusion.specificity,
            "pixel_f1": confusion.f1,
            "pixel_iou": confusion.iou,
            "pixel_dice": confusion.f1,
            "pixel_tp": tp,
            "pixel_tn": tn,
            "pixel_fp": fp,
            "pixel_fn": fn,
            "pixel_dice_per_image": dice,
            "pixel_hausdorff": hausdorff,
            "pixel_hd95": hd95,
            "pixel_boundary_f1": boundary_f1,
            "oracle_pixel_dice": best_f1(lesions, others),
        }
        return {name: np.where(tp + fn > 0, value, np.nan) for name, value in values.items()}

    def _means_over_lesions(self, weights: Numbers) -> Numbers:
        """(4, resamples)."""
        values = self._per_image.reshape(-1, 4)
        with_lesion = ~np.isnan(values[:, 0])
        total = weights[:, with_lesion].sum(1)
        return divide((weights[:, with_lesion] @ values[with_lesion]).T, total[None])
