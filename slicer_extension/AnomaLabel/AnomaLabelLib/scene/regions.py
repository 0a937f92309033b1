"""Connected regions of a map above any threshold, fast enough to follow a slider.

Voxels above the threshold are gathered into runs along x; runs of neighbouring rows that touch are joined. The rules
are the server's: 26 neighbours, strictly above the threshold, NaN belongs to no region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

ROWS_BEFORE = ((0, -1), (-1, -1), (-1, 0), (-1, 1))
"""(z, y) steps to the neighbouring rows that come earlier in memory."""

MANY_RUNS = 250_000
"""From here on, which only noise reaches, labelling every voxel takes less time than joining the runs."""


@dataclass(frozen=True)
class Regions:
    """Connected regions, highest peak first; ties in memory order of the peaks.

    Args:
        score: (R,) float64, largest map value of each.
        mean: (R,) float64, mean map value.
        voxels: (R,) int64, voxel counts.
        peak: (R, 3) int64, (i, j, k) of the first voxel in memory order that holds the score.
        index_min, index_max: (R, 3) int64, (i, j, k), both inclusive.
        uncertainty: (R,) float64, mean of the uncertainty map where it is known; NaN where it nowhere is, or is None.
        run_start, run_length: (N,) int64, every run of voxels along x: flat index of its first voxel, number of voxels.
        run_region: (N,) int64, which region each run belongs to.
        shape: (Z, Y, X) of the map.
    """

    score: np.ndarray
    mean: np.ndarray
    voxels: np.ndarray
    peak: np.ndarray
    index_min: np.ndarray
    index_max: np.ndarray
    uncertainty: np.ndarray
    run_start: np.ndarray
    run_length: np.ndarray
    run_region: np.ndarray
    shape: tuple[int, int, int]

    def at(self, indices: np.ndarray) -> np.ndarray:
        """(M,) region of each of (M, 3) voxels (i, j, k); -1 where a voxel belongs to none."""
        indices = np.asarray(indices, dtype=np.int64).reshape(-1, 3)
        if self.run_start.size == 0:
            return np.full(len(indices), -1, dtype=np.int64)
        flat = np.ravel_multi_index(tuple(indices[:, ::-1].T), self.shape)
        run = np.maximum(np.searchsorted(self.run_start, flat, side="right") - 1, 0)
        inside = (flat >= self.run_start[run]) & (flat < self.run_start[run] + self.run_length[run])
        return np.where(inside, self.run_region[run], -1)


class RegionMap:
    """Finds the regions of one map at threshold after threshold, with the memory that takes held ready.

    A smooth map of 256 x 256 x 180 voxels takes a few hundredths of a second; noise, which falls into millions of
    runs, up to a second.

    Args:
        values: (Z, Y, X) float32, NaN = unseen; read where it lies, not copied.
        uncertainty: (Z, Y, X) float32, NaN = unknown, or None.
    """

    def __init__(self, values: np.ndarray, uncertainty: np.ndarray | None = None) -> None:
        self._values = values
        self._uncertainty = self._known = None
        if uncertainty is not None:
            known = ~np.isnan(uncertainty)
            self._uncertainty = np.where(known, uncertainty, np.float32(0))
            self._known = None if known[~np.isnan(values)].all() else known
        depth, height, width = values.shape
        # One column more than the map, always False, so that no run goes on into the next row.
        self._above = np.zeros(depth * height * (width + 1), dtype=bool)
        self._changes = np.zeros(self._above.size + 1, dtype=bool)
        self._tops = [np.fmax.reduce(values, axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]

    def at(self, threshold: float) -> Regions:
        """The regions strictly above a threshold."""
        # NumPy 1 and 2 compare a Python number as float32, so that is what the server does too.
        bound = np.float32(threshold)
        shape = self._values.shape
        corner, end = self._reach(bound)
        if min(end - corner) <= 0:
            return _none(shape)
        box = tuple(slice(*part) for part in zip(corner, end, strict=True))
        values = self._values[box]
        size = values.shape
        flat = self._above[: size[0] * size[1] * (size[2] + 1)]
        above = flat.reshape(size[0], size[1], size[2] + 1)
        above[:, :, -1] = False
        inside = above[:, :, :-1]
        np.greater(values, bound, out=inside)
        changes = self._changes[: flat.size]
        changes[0] = flat[0]
        np.not_equal(flat[1:], flat[:-1], out=changes[1:])
        edges = np.flatnonzero(changes)
        start, length = edges[0::2], edges[1::2] - edges[0::2]
        row, x = np.divmod(start, size[2] + 1)
        if start.size > MANY_RUNS:
            region = ndimage.label(inside, np.ones((3, 3, 3)))[0].reshape(-1, size[2])[row, x].astype(np.int64) - 1
        else:
            region = _joined(row, x, length, size)
        z, y = np.divmod(row, size[1])
        uncertain = (None if each is None else each[box][inside] for each in (self._uncertainty, self._known))
        runs = _Runs(x + corner[2], y + corner[1], z + corner[0], length, region)
        return _measured(values[inside], *uncertain, runs, shape)

    def _reach(self, bound: np.float32) -> tuple[np.ndarray, np.ndarray]:
        """First and one past the last (z, y, x) of what lies above; equal where nothing does."""
        ends = []
        for tops in self._tops:
            over = np.flatnonzero(tops > bound)
            ends.append((over[0], over[-1] + 1) if over.size else (0, 0))
        return np.array(ends).T


@dataclass(frozen=True)
class _Runs:
    """Voxels in a row above the threshold: (N,) int64 first voxel, number of voxels, region; in memory order."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    length: np.ndarray
    region: np.ndarray


def _joined(row: np.ndarray, x: np.ndarray, length: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(N,) which region each run belongs to, counted from 0; runs in memory order."""
    # A line of rows and a column of voxels more than the map, so that what wraps round touches nothing.
    z, y = np.divmod(row, shape[1])
    width, height = shape[2] + 1, shape[1] + 1
    start = (z * height + y) * width + x
    last = start + length - 1
    firsts, seconds = [], []
    for step_z, step_y in ROWS_BEFORE:
        shift = (step_z * height + step_y) * width
        low = np.searchsorted(last, start + shift - 1, side="left")
        high = np.searchsorted(start, last + shift + 1, side="right")
        touched = high - low
        first = np.repeat(np.arange(start.size), touched)
        before = np.cumsum(touched) - touched
        firsts.append(first)
        seconds.append(np.arange(first.size) + (low - before)[first])
    links = (np.concatenate(firsts), np.concatenate(seconds))
    graph = coo_matrix((np.ones(links[0].size, dtype=np.int8), links), shape=(start.size, start.size))
    return connected_components(graph.tocsr(), directed=False)[1].astype(np.int64)


def _measured(
    values: np.ndarray,
    uncertainty: np.ndarray | None,
    known: np.ndarray | None,
    runs: _Runs,
    shape: tuple[int, int, int],
) -> Regions:
    """Statistics of the regions.

    Args:
        values: (V,) the map inside the runs, one after the other.
        uncertainty: (V,) 0 where it is unknown, or None.
        known: (V,) bool, or None where all of it is.
    """
    first = np.cumsum(runs.length) - runs.length
    run_peak = np.maximum.reduceat(values, first)
    order = np.argsort(runs.region, kind="stable")
    heads = np.flatnonzero(np.diff(runs.region[order], prepend=-1))

    def per_region(gather: np.ufunc, each: np.ndarray) -> np.ndarray:
        return gather.reduceat(each[order], heads)

    score = per_region(np.maximum, run_peak)
    holds = np.flatnonzero(run_peak == score[runs.region])
    peak_run = holds[np.unique(runs.region[holds], return_index=True)[1]]
    peak_x = runs.x[peak_run] + _first_equal(values, first[peak_run], runs.length[peak_run], score)
    ends = (runs.x + runs.length - 1, runs.y, runs.z)
    voxels = per_region(np.add, runs.length)
    total = per_region(np.add, np.add.reduceat(values, first, dtype=np.float64))
    mean_uncertainty = np.full(score.size, np.nan)
    if uncertainty is not None:
        counted = voxels if known is None else per_region(np.add, np.add.reduceat(known, first, dtype=np.int64))
        summed = per_region(np.add, np.add.reduceat(uncertainty, first, dtype=np.float64))
        np.divide(summed, counted, out=mean_uncertainty, where=counted > 0)
    # By score, then by the peak's place in memory, which is that of the run that holds it.
    rank = np.lexsort((peak_run, -score))
    number = np.empty_like(rank)
    number[rank] = np.arange(rank.size)
    return Regions(
        score=score[rank].astype(np.float64),
        mean=(total / voxels)[rank],
        voxels=voxels[rank],
        peak=np.column_stack([peak_x, runs.y[peak_run], runs.z[peak_run]])[rank],
        index_min=np.column_stack([per_region(np.minimum, each) for each in (runs.x, runs.y, runs.z)])[rank],
        index_max=np.column_stack([per_region(np.maximum, each) for each in ends])[rank],
        uncertainty=mean_uncertainty[rank],
        run_start=(runs.z * shape[1] + runs.y) * shape[2] + runs.x,
        run_length=runs.length,
        run_region=number[runs.region],
        shape=shape,
    )


def _first_equal(values: np.ndarray, first: np.ndarray, length: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(R,) where in each of R runs the wanted value stands for the first time."""
    begin = np.cumsum(length) - length
    inside = np.repeat(first - begin, length) + np.arange(length.sum())
    run = np.repeat(np.arange(first.size), length)
    hits = np.flatnonzero(values[inside] == wanted[run])
    _runs, place = np.unique(run[hits], return_index=True)
    return hits[place] - begin


def _none(shape: tuple[int, int, int]) -> Regions:
    empty, numbers, indices = np.empty(0), np.empty(0, np.int64), np.empty((0, 3), np.int64)
    return Regions(empty, empty, numbers, indices, indices, indices, empty, numbers, numbers, numbers, shape)
