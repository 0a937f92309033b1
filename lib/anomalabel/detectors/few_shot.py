"""Few-shot localization as a method: what was learned from a few healthy images looks at others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import Detection, PreparedImage, Progress, evenly_spread
from anomalabel.detectors.patch_maps import extract_batches, paint_maps
from anomalabel.finding import ModelIdentity, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.few_shot.grid import on_common_grid
from anomalabel.localization.few_shot.model import FewShotModel
from anomalabel.localization.framed_slices import frame_position
from anomalabel.localization.patch_features import PatchStore, SlicePatches
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.training.few_shot.shots import Shot
from anomalabel.volume import FloatArray, Matrix


class FewShotDetector:
    """Standard deviations of healthy patches above their mean, with uncertainty and thresholds.

    The image score is the mean over a slice's highest patches, of a volume the highest slice's.

    Args:
        encoder: that the model was trained on.
        model: what was learned.
        calibration: its thresholds.
        config: that it was trained with.
        identity: of the trained model.
        seed: of dropout.
        store: keeps features between detectors and images, None for none.
        warnings: of the training, told with each result.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        model: FewShotModel,
        calibration: Calibration,
        config: AnatomyConfig,
        identity: ModelIdentity,
        seed: int = 0,
        store: PatchStore | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.identity = identity
        self._encoder, self._model, self._calibration, self._config = encoder, model, calibration, config
        self._seed, self._store, self._warnings = seed, store, warnings

    @property
    def image_threshold(self) -> Threshold:
        return self._calibration.image

    @property
    def pixel_threshold(self) -> Threshold:
        return self._calibration.pixel

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`.

        Raises:
            ImageReadError: no patch of any slice holds body.
            ModelError: the encoder answers with NaN or infinity.
        """
        generator = torch.Generator().manual_seed(self._seed)

        def score(slices: list[SlicePatches]) -> tuple[FloatArray, ...]:
            on_grid = [on_common_grid(one) for one in slices]
            raw = self._model.raw_maps(on_grid)
            uncertainty = self._model.uncertainty_maps(on_grid, raw, self._calibration.pixel.value, generator)
            maps = self._model.fused(raw)
            return (maps,) if uncertainty is None else (maps, uncertainty)

        image = PreparedImage(prepared, affine_ras, tuple(positions))
        painted = paint_maps(image, self._config.normal_bank.batch_size, self._extract, score, progress)
        return Detection(
            painted.volumes[0],
            max(self._model.image_score(one[None]) for one in painted.slices),
            uncertainty_map=painted.volumes[1] if len(painted.volumes) > 1 else None,
            image_threshold=self._calibration.image,
            pixel_threshold=self._calibration.pixel,
            warnings=self._warnings,
        )

    def _extract(self, image: PreparedImage, positions: Sequence[SlicePosition]) -> list[SlicePatches]:
        size = self._config.normal_bank.batch_size
        return extract_batches(self._encoder, self._config.preprocessing, image, positions, size, self._store)


def shot_of(
    image: PreparedImage, encoder: PatchEncoder, config: AnatomyConfig, store: PatchStore | None = None
) -> Shot:
    """A healthy image as training takes it; of a volume, evenly spread slices.

    Raises:
        ModelError: the encoder answers with NaN or infinity.
    """
    bank = config.normal_bank
    positions = [image.positions[number] for number in evenly_spread(len(image.positions), bank.slices_a_volume)]
    patches = extract_batches(encoder, config.preprocessing, image, positions, bank.batch_size, store)
    framed = tuple(
        frame_position(image.prepared, image.affine_ras, position, encoder.side, config.preprocessing)
        for position in positions
    )
    return Shot(framed, tuple(on_common_grid(one) for one in patches))
