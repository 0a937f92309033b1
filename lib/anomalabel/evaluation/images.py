"""Images and their truth, read and prepared once and shared by all draws and methods."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import PreparedImage
from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import Box, EvaluationCase
from anomalabel.evaluation.datasets.truth import read_truth
from anomalabel.evaluation.grid import EvaluationGrid
from anomalabel.io.read import read_volume
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.slices import slice_positions

CACHE_BYTES = 1 << 30
"""Some 2,500 prepared pictures of 224 x 224, or 13 volumes of 256 x 256 x 256."""


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case ready to be looked at and judged.

    Args:
        case: what it is.
        image: as the detectors take it, on its own grid.
        spatial_dims: 2 for a picture, 3 for a volume.
        grid: what it is judged on.
        lesion: bool on the grid, see `CaseOutcome`.
        true_boxes: on the grid, see `CaseOutcome`.
    """

    case: EvaluationCase
    image: PreparedImage
    spatial_dims: int
    grid: EvaluationGrid
    lesion: NDArray[np.bool_] | None
    true_boxes: tuple[Box, ...] | None

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        prepared = self.image.prepared
        return prepared.scaled.nbytes + prepared.seen.nbytes + (0 if self.lesion is None else self.lesion.nbytes)


class CaseLoader:
    """Reads and prepares cases, keeping the ones that were asked for last.

    Args:
        config: how images are prepared.
        limit: bytes that are kept at most; a larger image is not kept at all.
    """

    def __init__(self, config: AnatomyConfig, limit: int = CACHE_BYTES) -> None:
        self._config = config
        self._limit = limit
        self._kept: OrderedDict[EvaluationCase, LoadedCase] = OrderedDict()
        self._bytes = 0

    def load(self, case: EvaluationCase) -> LoadedCase:
        """The case, from memory where it is kept.

        Raises:
            ImageReadError: the image, its mask or its boxes cannot be read.
        """
        if case in self._kept:
            self._kept.move_to_end(case)
            return self._kept[case]
        loaded = load_case(case, self._config)
        if loaded.nbytes <= self._limit:
            self._kept[case] = loaded
            self._bytes += loaded.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return loaded


def load_case(case: EvaluationCase, config: AnatomyConfig) -> LoadedCase:
    """Read and prepare one case.

    Raises:
        ImageReadError: the image, its mask or its boxes cannot be read, or nothing of the image is seen.
    """
    volume = read_volume(case.image)
    prepared = prepare_volume(volume, config.preprocessing)
    minimum = config.preprocessing.foreground.minimum_slice_fraction
    positions = slice_positions(volume, config.slices.planes, prepared.seen, minimum)
    if not positions:
        raise ImageReadError(f"Nothing is seen in {case.image}.", "Turn the foreground mask off in the config.")
    grid = EvaluationGrid.of(volume.shape)
    truth = read_truth(case, volume.shape)
    return LoadedCase(
        case=case,
        image=PreparedImage(prepared, volume.affine_ras, positions, str(case.image)),
        spatial_dims=volume.spatial_dims,
        grid=grid,
        lesion=None if truth.lesion is None else grid.of_mask(truth.lesion),
        true_boxes=None if truth.boxes is None else tuple(grid.of_box(box) for box in truth.boxes),
    )
