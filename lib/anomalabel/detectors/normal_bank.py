"""The floor that learns from healthy images: distance to the nearest healthy patch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import Detection, PreparedImage, Progress, evenly_spread
from anomalabel.errors import ImageReadError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.patch_features import FeatureStore, SlicePatches, extract_patches
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import FloatArray, Matrix


class NormalBankDetector:
    """How far each patch lies from the nearest patch of healthy images.

    The image score is the mean over the farthest `score_share` of a slice's patches (at least one), of a volume the
    largest slice's.

    Args:
        encoder: of patch features.
        healthy: at least one image; of a volume, evenly spread slices are taken.
        config: preprocessing of slices and the bank's settings.
        seed: of the sample where the bank is full.
        store: keeps features between detectors and images, None for none.

    Raises:
        ImageReadError: nothing is seen in the healthy images.
        ModelError: the encoder answers with NaN or infinity.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        healthy: Sequence[PreparedImage],
        config: AnatomyConfig,
        seed: int,
        store: FeatureStore | None = None,
    ) -> None:
        self._encoder, self._store = encoder, store
        self._preprocessing, self._settings = config.preprocessing, config.normal_bank
        slices: list[SlicePatches] = []
        for image in healthy:
            chosen = evenly_spread(len(image.positions), self._settings.slices_a_volume)
            positions = [image.positions[number] for number in chosen]
            slices += self._extract(image.prepared, image.affine_ras, positions)
        self._bank = NormalBank(slices, self._settings, seed, encoder.level_weights)

    @property
    def identity(self) -> ModelIdentity:
        return self._encoder.identity

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`. Memory beyond the volume's and the store's does not grow with the number of slices.

        Raises:
            ImageReadError: no patch of any slice holds body.
            ModelError: the encoder answers with NaN or infinity.
        """
        canvas = MapCanvas(prepared.scaled.shape, affine_ras)
        scores = []
        for start in range(0, len(positions), self._settings.batch_size):
            progress(start, len(positions))
            chosen = positions[start : start + self._settings.batch_size]
            slices = self._extract(prepared, affine_ras, chosen)
            for position, one, distances in zip(chosen, slices, self._bank.distances(slices), strict=True):
                if not one.seen.any():
                    continue
                scores.append(highest_mean(distances[one.seen], self._settings.score_share))
                canvas.add(position, one.frame.to_source(fill_unseen(distances, one.seen)))
        progress(len(positions), len(positions))
        if not scores:
            raise ImageReadError("No patch of the image holds body.", "Turn the foreground mask off in the config.")
        return Detection(canvas.mean(prepared.seen), max(scores))

    def _extract(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition]
    ) -> list[SlicePatches]:
        size = self._settings.batch_size
        return [
            patches
            for start in range(0, len(positions), size)
            for patches in extract_patches(
                self._encoder,
                self._preprocessing,
                prepared,
                affine_ras,
                positions[start : start + size],
                self._store,
            )
        ]


def highest_mean(values: FloatArray, share: float) -> float:
    """Mean of the highest `share` of values (n,), at least one of them."""
    count = max(round(share * values.size), 1)
    return float(np.partition(values, -count)[-count:].mean(dtype=np.float64))


def fill_unseen(values: FloatArray, seen: NDArray[np.bool_]) -> FloatArray:
    """A map (rows, columns) with each unseen patch set to its nearest seen one, for interpolation up to the border."""
    nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return values[tuple(nearest)]
