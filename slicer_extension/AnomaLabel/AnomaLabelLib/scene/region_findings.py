"""The findings of a run at any threshold, in the words of its report and without asking the server."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
import slicer

from ..server.report import Finding, Report
from .geometry import ijk_to_ras
from .ownership import RUN_ATTRIBUTE
from .regions import RegionMap, Regions
from .voxel_box import voxel_mm3, world_boxes

MAXIMUM_FINDINGS = 200
LABEL = "suspected anomaly"
"""What the server calls its findings; of use where the report lists none to copy the word from."""

WHOLE_VOXELS = 1e-6
"""A matrix read from a file is off by less than this part of a voxel's volume."""


@dataclass(frozen=True)
class FoundRegions:
    """What lies above a threshold.

    Args:
        findings: highest score first.
        left_out: regions that are large enough and not listed.
    """

    findings: tuple[Finding, ...]
    left_out: int


class RegionFinder:
    """Finds what the server would at any threshold.

    At the report's own threshold the server's findings come back as they are. Elsewhere a region that holds the peak
    of one of them keeps its id (of several, that of the highest score), and a new region gets an id from the run and
    its own peak: while a slider moves, a finding keeps its id for as long as it is there.

    Args:
        heatmap: of a run, on the grid that the report speaks of.
        report: of the run.
        uncertainty: a map on the same grid, or None.
        maximum: more findings than this are not listed.
    """

    def __init__(
        self,
        heatmap: slicer.vtkMRMLScalarVolumeNode,
        report: Report,
        uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None,
        maximum: int = MAXIMUM_FINDINGS,
    ) -> None:
        self._report = report
        self._run_id = heatmap.GetAttribute(RUN_ATTRIBUTE) or heatmap.GetID()
        self._matrix = ijk_to_ras(heatmap)
        self._map = RegionMap(
            slicer.util.arrayFromVolume(heatmap),
            slicer.util.arrayFromVolume(uncertainty) if uncertainty is not None else None,
        )
        self._maximum = maximum
        self._label = report.findings[0].label if report.findings else LABEL
        self._peaks = np.array([finding.peak_index for finding in report.findings]).reshape(-1, 3)

    def at(self, threshold: float) -> FoundRegions:
        """The findings strictly above a threshold."""
        if np.float32(threshold) == np.float32(self._report.threshold.value):
            return FoundRegions(self._report.findings, 0)
        regions = self._map.at(threshold)
        volumes_mm3 = regions.voxels * voxel_mm3(self._matrix)
        large = np.flatnonzero(volumes_mm3 >= self._smallest_mm3() * (1 - WHOLE_VOXELS))
        listed = large[: self._maximum]
        known = self._known_ids(regions)
        boxes = world_boxes(self._matrix, regions.index_min[listed], regions.index_max[listed])
        findings = []
        for place, box in zip(listed.tolist(), boxes, strict=True):
            i, j, k = regions.peak[place].tolist()
            uncertainty = float(regions.uncertainty[place])
            findings.append(
                Finding(
                    id=known.get(place) or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._run_id}/{i},{j},{k}")),
                    label=self._label,
                    score=float(regions.score[place]),
                    mean_score=float(regions.mean[place]),
                    uncertainty=None if np.isnan(uncertainty) else uncertainty,
                    volume_mm3=float(volumes_mm3[place]),
                    peak_index=(i, j, k),
                    index_min=tuple(regions.index_min[place].tolist()),
                    index_max=tuple(regions.index_max[place].tolist()),
                    center_ras=box.center_ras,
                    size_mm=box.size_mm,
                    axes_ras=box.axes_ras,
                )
            )
        findings.sort(key=lambda finding: (-finding.score, finding.id))
        return FoundRegions(tuple(findings), int(large.size - listed.size))

    def _smallest_mm3(self) -> float:
        """An older server does not say from which volume on it lists a region; its smallest one is the nearest."""
        if self._report.minimum_volume_mm3 is not None:
            return self._report.minimum_volume_mm3
        return min((finding.volume_mm3 for finding in self._report.findings), default=0.0)

    def _known_ids(self, regions: Regions) -> dict[int, str]:
        """The ids of the server's findings by the regions that hold their peaks."""
        places = regions.at(self._peaks).tolist()
        best_last = sorted(zip(places, self._report.findings, strict=True), key=lambda each: each[1].score)
        return {place: finding.id for place, finding in best_last if place >= 0}
