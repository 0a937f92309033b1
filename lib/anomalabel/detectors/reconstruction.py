"""Reconstruction by inpainting as a method: where an image differs from what it would look like were it healthy."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from anomalabel.config import AnatomyConfig, ExtraMap
from anomalabel.detectors.base import Detection, PreparedImage, Progress, evenly_spread
from anomalabel.errors import ConfigError, ImageReadError, ModelError
from anomalabel.finding import ModelIdentity, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.localization.patch_features import CutSlice, PatchStore, cut_slice
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.reconstruction.error_maps import inside_cells
from anomalabel.reconstruction.model import ReconstructionModel
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps
from anomalabel.reconstruction.slices import RestorableSlice, batch_of, restorable_slice
from anomalabel.volume import FloatArray, Matrix


class ReconstructionDetector:
    """The error between slices and their restorations, and thresholds from held-out healthy images.

    The image score is the maximum over a slice's error map, or the mean of its highest share, of a volume the highest
    slice's.

    Args:
        model: what was learned.
        saliency: what marks the region to hide.
        calibration: thresholds.
        config: that the model was trained with.
        identity: of the trained model.
        store: keeps saliency between detectors and images, None for none.
        warnings: of the training, told with each result.
    """

    def __init__(
        self,
        model: ReconstructionModel,
        saliency: SaliencySources,
        calibration: Calibration,
        config: AnatomyConfig,
        identity: ModelIdentity,
        store: PatchStore | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.identity = identity
        self._model, self._saliency, self._calibration, self._config = model, saliency, calibration, config
        self._store, self._warnings = store, warnings
        self._device = next(model.network.parameters()).device

    @property
    def image_threshold(self) -> Threshold:
        return self._calibration.image

    @property
    def pixel_threshold(self) -> Threshold:
        return self._calibration.pixel

    @property
    def description(self) -> str:
        """Where its saliency comes from."""
        return f"Saliency: {self._saliency.name}."

    @property
    def shows(self) -> frozenset[ExtraMap]:
        """The reconstruction, and the saliency where there is one."""
        return frozenset({"reconstruction", "saliency"} if self._saliency.encoders else {"reconstruction"})

    def detect(
        self,
        prepared: PreparedVolume,
        affine_ras: Matrix,
        positions: Sequence[SlicePosition],
        progress: Progress,
        extra_maps: Collection[ExtraMap] = (),
    ) -> Detection:
        """See `ShowingDetector.detect`.

        Raises:
            ConfigError: an extra map that it does not show.
            ImageReadError: no slice shows anything.
            ModelError: a network answers with NaN or infinity.
        """
        missing = sorted(set(extra_maps) - self.shows)
        if missing:
            raise ConfigError(f"This model has no {missing[0]} map: it hides nothing.", "Leave that map out.")
        shape = prepared.scaled.shape
        errors = MapCanvas(shape, affine_ras)
        extra = {name: MapCanvas(shape, affine_ras) for name in extra_maps}
        scores: list[float] = []
        size = self._config.reconstruction.batch_size
        for start in range(0, len(positions), size):
            progress(start, len(positions))
            chosen = positions[start : start + size]
            cuts = [cut_slice(prepared, affine_ras, position) for position in chosen]
            slices = self._slices(cuts)
            maps, restored = self._look(slices, scores)
            for number, (position, one) in enumerate(zip(chosen, slices, strict=True)):
                errors.add(position, _shown(one, maps[number]))
                if "saliency" in extra:
                    extra["saliency"].add(position, _shown(one, one.saliency))
                if "reconstruction" in extra:
                    extra["reconstruction"].add(position, _shown(one, restored[number]))
        progress(len(positions), len(positions))
        score = max(scores, default=float("-inf"))
        if score == float("-inf"):
            raise ImageReadError("No pixel of the image holds body.", "Turn the foreground mask off in the config.")
        return Detection(
            errors.mean(prepared.seen),
            score,
            image_threshold=self.image_threshold,
            pixel_threshold=self.pixel_threshold,
            warnings=self._warnings,
            extra_maps={name: canvas.mean(prepared.seen) for name, canvas in extra.items()},
        )

    def _slices(self, cuts: Sequence[CutSlice]) -> list[RestorableSlice]:
        settings, preprocessing = self._config.reconstruction, self._config.preprocessing
        maps = saliency_maps(self._saliency, preprocessing, cuts, self._store, settings.batch_size)
        return [restorable_slice(cut, one, settings, preprocessing) for cut, one in zip(cuts, maps, strict=True)]

    def _look(self, slices: Sequence[RestorableSlice], scores: list[float]) -> tuple[FloatArray, FloatArray]:
        """Anomaly maps (N, cells, cells) and restorations (N, side, side); the slices' scores are added to `scores`."""
        model = self._model
        batch = batch_of(slices, model.settings.mosaic.threshold_sd, self._device)
        restored = model.restore(batch)
        maps = model.map_of(restored.errors)
        if not torch.isfinite(maps).all():
            raise ModelError(
                f"The restoration of {self.identity.name} is not finite.", "Train it again, or copy its folder again."
            )
        scores += model.slice_scores(maps, inside_cells(batch.inside, model.cells))
        return maps.cpu().numpy(), restored.images[:, 0].cpu().numpy()


def cuts_of(image: PreparedImage, at_most: int | None) -> list[CutSlice]:
    """The slices of a healthy image that are looked at: evenly spread ones of a volume, or all with None."""
    count = len(image.positions)
    chosen = evenly_spread(count, count if at_most is None else at_most)
    return [cut_slice(image.prepared, image.affine_ras, image.positions[number]) for number in chosen]


def _shown(one: RestorableSlice, values: FloatArray) -> FloatArray:
    """A map over the square on the slice's own pixels, NaN beyond the field of view."""
    return np.where(one.shown, one.frame.to_source(values), np.nan)
