"""The floor that learns from healthy images: distance to the nearest healthy patch."""

from __future__ import annotations

from collections.abc import Sequence

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import Detection, PreparedImage, Progress, evenly_spread
from anomalabel.detectors.patch_maps import extract_batches, paint_maps
from anomalabel.finding import ModelIdentity
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.patch_features import PatchStore, SlicePatches, slice_score
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
        store: PatchStore | None = None,
    ) -> None:
        self._encoder, self._store = encoder, store
        self._preprocessing, self._settings = config.preprocessing, config.normal_bank
        slices: list[SlicePatches] = []
        for image in healthy:
            chosen = evenly_spread(len(image.positions), self._settings.slices_a_volume)
            positions = [image.positions[number] for number in chosen]
            slices += self._extract(image, positions)
        self._bank = NormalBank(slices, self._settings, seed, encoder.level_weights)

    @property
    def identity(self) -> ModelIdentity:
        return self._encoder.identity

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`.

        Raises:
            ImageReadError: no patch of any slice holds body.
            ModelError: the encoder answers with NaN or infinity.
        """
        image = PreparedImage(prepared, affine_ras, tuple(positions))
        painted = paint_maps(image, self._settings.batch_size, self._extract, self._score, progress)
        return Detection(
            painted.volumes[0], max(slice_score(one, self._settings.score_share) for one in painted.slices)
        )

    def _score(self, slices: list[SlicePatches]) -> tuple[FloatArray, ...]:
        return (self._bank.distances(slices),)

    def _extract(self, image: PreparedImage, positions: Sequence[SlicePosition]) -> list[SlicePatches]:
        return extract_batches(
            self._encoder, self._preprocessing, image, positions, self._settings.batch_size, self._store
        )
