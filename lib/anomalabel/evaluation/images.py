"""Images and their truth, read and prepared once and shared by all draws and methods."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import overload

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

MOST_READERS = 8
"""Images read at the same time, where there are as many processors: a picture of 512 x 512 takes up to 40 ms."""

AHEAD_BYTES = 1 << 28
"""Images read ahead of their use take no more, as far as the size of the last one tells."""


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
    """Reads and prepares cases, keeping the ones that were asked for last; may be called from several threads.

    Args:
        config: how images are prepared.
        limit: bytes that are kept at most; a larger image is not kept at all.
    """

    def __init__(self, config: AnatomyConfig, limit: int = CACHE_BYTES) -> None:
        self._config = config
        self._limit = limit
        self._kept: OrderedDict[EvaluationCase, LoadedCase] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def load(self, case: EvaluationCase) -> LoadedCase:
        """The case, from memory where it is kept.

        Raises:
            ImageReadError: the image, its mask or its boxes cannot be read.
        """
        with self._lock:
            if case in self._kept:
                self._kept.move_to_end(case)
                return self._kept[case]
        loaded = load_case(case, self._config)
        with self._lock:
            if loaded.nbytes <= self._limit and case not in self._kept:
                self._kept[case] = loaded
                self._bytes += loaded.nbytes
                while self._bytes > self._limit:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return loaded

    def load_each(self, cases: Sequence[EvaluationCase]) -> Iterator[LoadedCase | ImageReadError]:
        """The cases in order, with the error of each that cannot be read; the next few are read meanwhile."""
        readers = min(MOST_READERS, os.cpu_count() or 1)
        remaining, ahead = iter(cases), 1
        waiting: deque[Future[LoadedCase]] = deque()
        pool = ThreadPoolExecutor(readers)
        try:
            while True:
                waiting.extend(pool.submit(self.load, case) for case in islice(remaining, max(ahead - len(waiting), 0)))
                if not waiting:
                    return
                loaded = _loaded(waiting.popleft())
                if isinstance(loaded, LoadedCase):
                    ahead = max(1, min(readers, AHEAD_BYTES // max(loaded.nbytes, 1)))
                yield loaded
        finally:
            pool.shutdown(cancel_futures=True)


class HealthyImages(Sequence[PreparedImage]):
    """Images to learn from, each loaded when it is asked for: thousands do not fit into memory together.

    Args:
        cases: which.
        loader: keeps those that were asked for last.

    Raises:
        ImageReadError: on access, for an image that cannot be read.
    """

    def __init__(self, cases: Sequence[EvaluationCase], loader: CaseLoader) -> None:
        self._cases, self._loader = tuple(cases), loader

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, number: int) -> PreparedImage: ...
    @overload
    def __getitem__(self, number: slice) -> HealthyImages: ...
    def __getitem__(self, number: int | slice) -> PreparedImage | HealthyImages:
        if isinstance(number, slice):
            return HealthyImages(self._cases[number], self._loader)
        return self._loader.load(self._cases[number]).image

    def __iter__(self) -> Iterator[PreparedImage]:
        for loaded in self._loader.load_each(self._cases):
            if isinstance(loaded, ImageReadError):
                raise loaded
            yield loaded.image


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


def _loaded(reading: Future[LoadedCase]) -> LoadedCase | ImageReadError:
    try:
        return reading.result()
    except ImageReadError as error:
        return error
