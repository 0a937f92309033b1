"""The lowest floor: an image's own brightness, which finds bright lesions without having learned anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anomalabel.config import PreprocessingSettings
from anomalabel.detectors.base import Detection, Progress
from anomalabel.finding import ModelIdentity
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.preprocessing.prepare import PreparedVolume, prepare_slice
from anomalabel.preprocessing.slices import SlicePosition, extract_slice
from anomalabel.volume import Matrix

SCORE_QUANTILE = 0.99
NO_MODEL = ModelIdentity(name="none", weights_sha256="")


class IntensityDetector:
    """Brightness of the prepared image, 0 to 1.

    The image score is the 99 % quantile of the map over what was seen, of a volume over all its slices.

    Args:
        preprocessing: denoising and equalisation of slices, as for every method.
    """

    identity = NO_MODEL

    def __init__(self, preprocessing: PreprocessingSettings) -> None:
        self._preprocessing = preprocessing

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`."""
        canvas = MapCanvas(prepared.scaled.shape, affine_ras)
        for done, position in enumerate(positions):
            progress(done, len(positions))
            image = extract_slice(prepared.scaled, affine_ras, position)
            canvas.add(position, prepare_slice(image, self._preprocessing))
        progress(len(positions), len(positions))
        anomaly_map = canvas.mean(prepared.seen)
        return Detection(anomaly_map, float(np.nanquantile(anomaly_map, SCORE_QUANTILE)))
