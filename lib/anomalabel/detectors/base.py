"""What every method takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from anomalabel.config import ExtraMap
from anomalabel.finding import ModelIdentity, Threshold
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import FloatArray, Matrix

Progress = Callable[[int, int], None]
"""Called with slices done and slices in all; may raise Cancelled."""


@dataclass(frozen=True)
class Detection:
    """What a detector found out about one volume.

    Args:
        anomaly_map: (Z, Y, X) float32 on the source grid, larger = more anomalous, NaN where nothing was seen.
        image_score: larger = more anomalous; each method says in its own words what it is, and for a volume how the
            slices' scores become one.
        prompt_specificity: see attention.specificity; None for methods without prompts.
        uncertainty_map: on the same grid, from 0 (sure) to 0.5, how unsure it is that a voxel lies above the threshold
            of findings; None for methods without.
        image_threshold: an image score above is abnormal; None for methods that were not calibrated.
        pixel_threshold: map values above belong to findings; None as before.
        warnings: what a reader of this method's results should know.
        extra_maps: those that were asked for, (Z, Y, X) float32 on the source grid, NaN where nothing was seen.
            `saliency` is what decided where to look, in no unit, larger = more suspected; `reconstruction` is what the
            model believes healthy looks like, on the scale of the prepared image, [0, 1].
    """

    anomaly_map: FloatArray
    image_score: float
    prompt_specificity: float | None = None
    uncertainty_map: FloatArray | None = None
    image_threshold: Threshold | None = None
    pixel_threshold: Threshold | None = None
    warnings: tuple[str, ...] = ()
    extra_maps: Mapping[ExtraMap, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedImage:
    """An image as detectors take it: a healthy one to learn from, or one to look at.

    Args:
        prepared: intensities in [0, 1] and which voxels are body.
        affine_ras: (4, 4), index (i, j, k) to RAS millimetres.
        positions: the slices to look at, at least one.
        source: for messages.
    """

    prepared: PreparedVolume
    affine_ras: Matrix
    positions: tuple[SlicePosition, ...]
    source: str = ""


class Detector(Protocol):
    """A method, ready: holds weights and settings and nothing that changes what it answers."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights its answers come from."""
        ...

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """Look at the slices at `positions` of a volume and put the maps back on its grid."""
        ...


@runtime_checkable
class CalibratedDetector(Detector, Protocol):
    """A method that sets its own thresholds, on healthy images each judged by what did not learn from it."""

    @property
    def image_threshold(self) -> Threshold:
        """Image scores above are abnormal."""
        ...

    @property
    def pixel_threshold(self) -> Threshold:
        """Map values above belong to findings."""
        ...


@runtime_checkable
class ShowingDetector(Detector, Protocol):
    """A method that can show more than its anomaly map."""

    @property
    def shows(self) -> frozenset[ExtraMap]:
        """What it has to show; asked before an image is read."""
        ...

    def detect(
        self,
        prepared: PreparedVolume,
        affine_ras: Matrix,
        positions: Sequence[SlicePosition],
        progress: Progress,
        extra_maps: Collection[ExtraMap] = (),
    ) -> Detection:
        """As `Detector.detect`.

        Args:
            extra_maps: that `Detection.extra_maps` must hold, and no others: they cost memory.

        Raises:
            ConfigError: one that it does not show.
        """
        ...


@runtime_checkable
class DescribedDetector(Detector, Protocol):
    """A method whose answers hang on more than the weights that `identity` names."""

    @property
    def description(self) -> str:
        """What a reader of its results must know of how it was made, one sentence; the same after each training."""
        ...


def no_progress(done: int, total: int) -> None:
    """Nobody is watching."""


def evenly_spread(count: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` of the numbers 0 to count - 1, evenly spread, first and last among them."""
    return tuple(dict.fromkeys(int(number) for number in np.linspace(0, count - 1, min(wanted, count)).round()))
