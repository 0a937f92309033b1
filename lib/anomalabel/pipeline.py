"""The one way through the house: read, prepare, detect, find, report."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np

from anomalabel.backbones.device import Precision, choose_device
from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import find_model_folder
from anomalabel.backbones.patch_encoders import TIMM_PREFIX
from anomalabel.config import EMBEDDED, AnatomyConfig, DetectionRequest, ExtraMap, load_config
from anomalabel.detectors import Progress
from anomalabel.detectors.base import Detector, PreparedImage, no_progress
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.registry import BUILDERS, build_detector, texts_of
from anomalabel.detectors.report import build_report
from anomalabel.detectors.showing import look, require_shown, require_shown_by_method
from anomalabel.errors import ImageReadError
from anomalabel.finding import FindingsReport
from anomalabel.io.read import read_volume
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.seen_image import SeenImage
from anomalabel.preprocessing.slices import slice_positions
from anomalabel.trained_detectors import LoadedModel, TrainedDetectors
from anomalabel.volume import FloatArray, Volume


@dataclass(frozen=True)
class DetectionResult:
    """A volume, its anomaly map on the same grid (Z, Y, X; NaN = unseen), and the report that travels with it.

    The uncertainty map, on that grid too, tells from 0 (sure) to 0.5 how unsure it is that a voxel lies above the
    threshold of findings; None where the method has none. The extra maps are those of the request, see
    `detectors.base.Detection`; where there are any, `seen` is the image as they were made of it.
    """

    volume: Volume
    anomaly_map: FloatArray
    report: FindingsReport
    uncertainty_map: FloatArray | None = None
    extra_maps: Mapping[ExtraMap, FloatArray] = field(default_factory=dict)
    seen: SeenImage | None = None


class DetectionPipeline:
    """Keeps models loaded and takes images through detection; may be called from several threads.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the image towers; "auto" is bfloat16 where the hardware computes in it.

    Raises:
        ModelError: the device is not there.
    """

    def __init__(self, device: str = "auto", precision: Precision = "auto") -> None:
        choose_device(device)
        self._device = device
        self._precision: Precision = precision
        self._models: dict[str, NamedEncoders] = {}
        self._trained = TrainedDetectors(self.encoders)
        self._loading = threading.Lock()

    def encoders(self, backbone: str) -> NamedEncoders:
        """The encoders of a name, each loaded on first use."""
        with self._loading:
            if backbone not in self._models:
                self._models[backbone] = NamedEncoders(backbone, self._device, self._precision)
            return self._models[backbone]

    def model(self, backbone: str) -> ImageTextModel:
        """The image-text model, loaded on first use.

        Raises:
            ModelError: there is no such model or it cannot be loaded.
        """
        return self.encoders(backbone).image_text_model()

    def detector(
        self, request: DetectionRequest, healthy: Sequence[Path] = (), progress: Progress | None = None
    ) -> Detector:
        """The detector of a request, to be used for several images.

        Args:
            request: method, config, model, prompts and seed.
            healthy: images that the method learns from; methods that need none do not read them.
            progress: called with what is done and what there is in all: healthy images, then each stage of learning.

        Raises:
            AnomaLabelError: no healthy images where the method needs them, one that cannot be read, or a bad config,
                prompt or model.
            ConfigError: extra maps that the method or the model cannot show.
        """
        trained = self._trained.find(request)
        if trained is not None:
            require_shown(trained.detector, request)
            return trained.detector
        require_shown_by_method(request)
        config = apply_request(load_config(request.config), request)
        builder = BUILDERS[request.method]
        prompts = texts_of(request.method, config, request)
        told = progress or no_progress
        needed = tuple(healthy) if builder.needs_healthy else ()
        if builder.needs_healthy and not needed and not request.backbone.startswith(TIMM_PREFIX):
            find_model_folder(request.backbone)
        context = BuildContext(
            config,
            prompts,
            self.encoders(request.backbone),
            HealthyFiles(needed, config, told),
            request.seed,
            watch=lambda stage, done, total: told(done, total),
        )
        detector = build_detector(request.method, context)
        told(len(needed), len(needed))
        require_shown(detector, request)
        return detector

    def warm(self, backbone: str = EMBEDDED) -> None:
        """Load a model and run it once, so that the first user does not wait for either."""
        config = load_config("chest_xray")
        picture = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
        volume = Volume(picture, np.eye(4), source="warm-up", spatial_dims=2)
        request = DetectionRequest(config=config.name, backbone=backbone)
        self._detect(volume, config, request, self._untrained(config, request), no_progress)

    def detect(
        self,
        source: Path,
        request: DetectionRequest,
        progress: Progress | None = None,
        series_uid: str | None = None,
        detector: Detector | None = None,
    ) -> DetectionResult:
        """Take one image through the house.

        Args:
            source: file or DICOM folder.
            request: what to look for and with what.
            progress: called with slices done and slices in all; raising `Cancelled` in it stops the work.
            series_uid: which series of a DICOM folder.
            detector: what `detector` gave for the same request; None builds it here, without healthy images.

        Raises:
            AnomaLabelError: bad image, config, prompt or model; says what to do.
            ConfigError: extra maps that the method or the model cannot show; the image is not read then.
        """
        trained = self._trained.find(request)
        config = apply_request(load_config(request.config) if trained is None else trained.description.config, request)
        chosen = detector or (trained.detector if trained else self._untrained(config, request))
        require_shown(chosen, request)
        return self._detect(read_volume(source, series_uid), config, request, chosen, progress or no_progress, trained)

    def _detect(
        self,
        volume: Volume,
        config: AnatomyConfig,
        request: DetectionRequest,
        detector: Detector,
        progress: Progress,
        trained: LoadedModel | None = None,
    ) -> DetectionResult:
        prompts = texts_of(request.method, config, request) if trained is None else trained.description.prompts
        image = prepare_image(volume, config)
        detection = look(detector, image, progress, request.extra_maps)
        if not np.isfinite(detection.anomaly_map).any():
            raise ImageReadError(f"Nothing was seen in {volume.source}.", "Turn the foreground mask off in the config.")
        unknown: tuple[str, ...] = ()
        if BUILDERS[request.method].uses_prompts and trained is None:
            texts = (*prompts.positive, *prompts.negative)
            unknown = self.encoders(request.backbone).image_text_model().unknown_words(texts)
        report = build_report(volume, config, request, prompts, detector.identity, unknown, detection)
        seen = SeenImage(volume, image.prepared, config) if detection.extra_maps else None
        return DetectionResult(
            volume, detection.anomaly_map, report, detection.uncertainty_map, detection.extra_maps, seen
        )

    def _untrained(self, config: AnatomyConfig, request: DetectionRequest) -> Detector:
        require_shown_by_method(request)
        prompts = texts_of(request.method, config, request)
        context = BuildContext(config, prompts, self.encoders(request.backbone), seed=request.seed)
        return build_detector(request.method, context)


class HealthyFiles(Sequence[PreparedImage]):
    """Images to learn from, each read when it is asked for: thousands do not fit into memory together.

    Args:
        paths: of the images.
        config: that they are prepared with.
        progress: told with each that is read.

    Raises:
        ImageReadError: on access, for an image that cannot be read.
    """

    def __init__(self, paths: Sequence[Path], config: AnatomyConfig, progress: Progress) -> None:
        self._paths, self._config, self._progress = tuple(paths), config, progress

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> PreparedImage: ...
    @overload
    def __getitem__(self, number: slice) -> HealthyFiles: ...
    def __getitem__(self, number: int | slice) -> PreparedImage | HealthyFiles:
        if isinstance(number, slice):
            return HealthyFiles(self._paths[number], self._config, self._progress)
        path = self._paths[number]
        self._progress(number, len(self))
        return prepare_image(read_volume(path), self._config)


def prepare_image(volume: Volume, config: AnatomyConfig) -> PreparedImage:
    """A volume as every method takes it.

    Raises:
        ImageReadError: the volume shows nothing.
    """
    prepared = prepare_volume(volume, config.preprocessing)
    minimum = config.preprocessing.foreground.minimum_slice_fraction
    positions = slice_positions(volume, config.slices.planes, prepared.seen, minimum)
    return PreparedImage(prepared, volume.affine_ras, positions, volume.source)


def apply_request(config: AnatomyConfig, request: DetectionRequest) -> AnatomyConfig:
    """The config with what the request chooses in place of its own values.

    An odd number of samples cannot be antithetic, so it switches that off.
    """
    slices = {} if request.planes is None else {"planes": request.planes}
    findings = {
        key: value
        for key, value in (
            ("threshold_sd", request.threshold_sd),
            ("minimum_volume_mm3", request.minimum_volume_mm3),
            ("minimum_area_mm2", request.minimum_volume_mm3),
        )
        if value is not None
    }
    attention: dict[str, object] = {}
    if request.samples is not None:
        paired = config.attention.antithetic and request.samples % 2 == 0
        attention = {"samples": request.samples, "antithetic": paired}
    return config.model_copy(
        update={
            "slices": config.slices.model_copy(update=slices),
            "findings": config.findings.model_copy(update=findings),
            "attention": config.attention.model_copy(update=attention),
        }
    )
