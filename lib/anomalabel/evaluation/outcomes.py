"""From a detection to what is judged of it, and to the small picture that a report may show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import Detection
from anomalabel.evaluation.cases import Box, CaseOutcome, Thresholds
from anomalabel.evaluation.grid import EvaluationGrid
from anomalabel.evaluation.images import LoadedCase
from anomalabel.finding import Finding
from anomalabel.localization.findings import extract_findings
from anomalabel.volume import FloatArray


@dataclass(frozen=True, eq=False)
class Example:
    """What a report may show of one case, at most 256 pixels along each side.

    Args:
        picture: (H, W) uint8, the prepared image; of a volume the slice with most of the lesion, or without one the
            slice with the map's largest value.
        anomaly_map: (H, W) float32, NaN where nothing was seen.
        lesion: (H, W) bool, None where the disease's pixels are unknown.
        true_boxes: in (row, column), None where the place is unknown.
        found: in (row, column).
    """

    picture: NDArray[np.uint8]
    anomaly_map: FloatArray
    lesion: NDArray[np.bool_] | None
    true_boxes: tuple[Box, ...] | None
    found: tuple[Box, ...]


def outcome_of(loaded: LoadedCase, detection: Detection, thresholds: Thresholds, config: AnatomyConfig) -> CaseOutcome:
    """What a method said about a case, on the evaluation grid, with findings cut at the calibrated pixel threshold.

    Args:
        detection: its map already on the case's evaluation grid.
        thresholds: without a pixel threshold (NaN) there are no findings.
    """
    return CaseOutcome(
        case=loaded.case,
        image_score=detection.image_score,
        anomaly_map=detection.anomaly_map,
        lesion=loaded.lesion,
        true_boxes=loaded.true_boxes,
        found=_found(loaded, detection.anomaly_map, thresholds.pixel, config),
    )


def example_of(loaded: LoadedCase, outcome: CaseOutcome) -> Example:
    """The picture of a case: image, map, truth and findings of one slice."""
    scaled = loaded.image.prepared.scaled
    if outcome.anomaly_map.ndim == 2:
        picture = loaded.grid.of_map(scaled)
        return Example(_eight_bit(picture), outcome.anomaly_map, outcome.lesion, outcome.true_boxes, outcome.found)
    number = _shown_slice(outcome)
    _, rows, columns = loaded.grid.source
    grid = EvaluationGrid.of((1, rows, columns))
    lesion = None if outcome.lesion is None else grid.of_mask(outcome.lesion[number][None])
    true_boxes = None if outcome.true_boxes is None else _in_slice(outcome.true_boxes, number, grid)
    return Example(
        picture=_eight_bit(grid.of_map(scaled[number][None])),
        anomaly_map=grid.of_map(outcome.anomaly_map[number][None]),
        lesion=lesion,
        true_boxes=true_boxes,
        found=_in_slice(outcome.found, number, grid),
    )


def _found(loaded: LoadedCase, anomaly_map: FloatArray, threshold: float, config: AnatomyConfig) -> tuple[Box, ...]:
    if np.isnan(threshold):
        return ()
    affine_ras = loaded.grid.affine_ras(loaded.image.affine_ras)
    settings = config.findings
    slice_mm = float(np.linalg.norm(affine_ras[:3, 2]))
    minimum_mm3 = settings.minimum_area_mm2 * slice_mm if loaded.spatial_dims == 2 else settings.minimum_volume_mm3
    as_volume = anomaly_map if anomaly_map.ndim == 3 else anomaly_map[None]
    # `extract_findings` cuts strictly above its threshold, pixels are called abnormal from theirs on.
    below = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    findings = extract_findings(as_volume, affine_ras, below, minimum_mm3, "", loaded.case.identity)
    return tuple(_box(finding, anomaly_map.ndim) for finding in findings[: settings.maximum_count])


def _box(finding: Finding, dimensions: int) -> Box:
    low, high = finding.index_min[::-1][-dimensions:], finding.index_max[::-1][-dimensions:]
    return Box(low, high, finding.score)


def _shown_slice(outcome: CaseOutcome) -> int:
    if outcome.lesion is not None and outcome.lesion.any():
        return int(outcome.lesion.sum(axis=(1, 2)).argmax())
    peak = int(np.nanargmax(outcome.anomaly_map))
    return int(np.unravel_index(peak, outcome.anomaly_map.shape)[0])


def _in_slice(boxes: tuple[Box, ...], number: int, grid: EvaluationGrid) -> tuple[Box, ...]:
    return tuple(grid.of_box(box) for box in boxes if box.low[0] <= number <= box.high[0])


def _eight_bit(picture: FloatArray) -> NDArray[np.uint8]:
    return np.round(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
