"""The one way through the house: read, prepare, detect, find, report."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalabel.attention.clap import region_threshold
from anomalabel.backbones.device import Precision, choose_device
from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import find_model_folder
from anomalabel.backbones.patch_encoders import TIMM_PREFIX
from anomalabel.config import EMBEDDED, AnatomyConfig, DetectionRequest, load_config
from anomalabel.detectors import Detection, Progress
from anomalabel.detectors.base import Detector, PreparedImage, no_progress
from anomalabel.detectors.registry import BUILDERS, BuildContext, build_detector, texts_of
from anomalabel.errors import ImageReadError, writable
from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.io.read import read_volume
from anomalabel.localization.findings import extract_findings
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.slices import slice_positions
from anomalabel.trained_detectors import LoadedModel, TrainedDetectors
from anomalabel.volume import FloatArray, Volume


@dataclass(frozen=True)
class DetectionResult:
    """A volume, its anomaly map on the same grid (Z, Y, X; NaN = unseen), and the report that travels with it.

    The uncertainty map, on that grid too, tells from 0 (sure) to 0.5 how unsure it is that a voxel lies above the
    threshold of findings; None where the method has none.
    """

    volume: Volume
    anomaly_map: FloatArray
    report: FindingsReport
    uncertainty_map: FloatArray | None = None


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
            progress: called with healthy images read and in all.

        Raises:
            AnomaLabelError: no healthy images where the method needs them, one that cannot be read, or a bad config,
                prompt or model.
        """
        trained = self._trained.find(request)
        if trained is not None:
            return trained.detector
        config = apply_request(load_config(request.config), request)
        builder = BUILDERS[request.method]
        prompts = texts_of(request.method, config, request)
        told = progress or no_progress
        needed = tuple(healthy) if builder.needs_healthy else ()
        if builder.needs_healthy and not needed and not request.backbone.startswith(TIMM_PREFIX):
            find_model_folder(request.backbone)
        shots = []
        for done, path in enumerate(needed):
            told(done, len(needed))
            shots.append(prepare_image(read_volume(path), config))
        told(len(needed), len(needed))
        context = BuildContext(config, prompts, self.encoders(request.backbone), tuple(shots), request.seed)
        return build_detector(request.method, context)

    def warm(self, backbone: str = EMBEDDED) -> None:
        """Load a model and run it once, so that the first user does not wait for either."""
        config = load_config("chest_xray")
        picture = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
        volume = Volume(picture, np.eye(4), source="warm-up", spatial_dims=2)
        self._detect(volume, config, DetectionRequest(config=config.name, backbone=backbone))

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
        """
        trained = self._trained.find(request)
        config = apply_request(load_config(request.config) if trained is None else trained.description.config, request)
        return self._detect(read_volume(source, series_uid), config, request, progress, detector, trained)

    def _detect(
        self,
        volume: Volume,
        config: AnatomyConfig,
        request: DetectionRequest,
        progress: Progress | None = None,
        detector: Detector | None = None,
        trained: LoadedModel | None = None,
    ) -> DetectionResult:
        prompts = texts_of(request.method, config, request) if trained is None else trained.description.prompts
        if detector is None:
            detector = trained.detector if trained else self._untrained(config, prompts, request)
        image = prepare_image(volume, config)
        detection = detector.detect(image.prepared, image.affine_ras, image.positions, progress or no_progress)
        if not np.isfinite(detection.anomaly_map).any():
            raise ImageReadError(f"Nothing was seen in {volume.source}.", "Turn the foreground mask off in the config.")
        unknown: tuple[str, ...] = ()
        if BUILDERS[request.method].uses_prompts and trained is None:
            texts = (*prompts.positive, *prompts.negative)
            unknown = self.encoders(request.backbone).image_text_model().unknown_words(texts)
        report = _report(volume, config, request, prompts, detector.identity, unknown, detection)
        return DetectionResult(volume, detection.anomaly_map, report, detection.uncertainty_map)

    def _untrained(self, config: AnatomyConfig, prompts: PromptTexts, request: DetectionRequest) -> Detector:
        context = BuildContext(config, prompts, self.encoders(request.backbone), seed=request.seed)
        return build_detector(request.method, context)


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


def _report(
    volume: Volume,
    config: AnatomyConfig,
    request: DetectionRequest,
    prompts: PromptTexts,
    model: ModelIdentity,
    unknown_words: Sequence[str],
    detection: Detection,
) -> FindingsReport:
    anomaly_map = detection.anomaly_map
    threshold = detection.pixel_threshold or _relative_threshold(anomaly_map, config)
    minimum_mm3 = (
        config.findings.minimum_area_mm2 * volume.spacing_mm[2]
        if volume.spatial_dims == 2
        else config.findings.minimum_volume_mm3
    )
    identity = _identity(volume, config, request, prompts, model)
    found = extract_findings(
        anomaly_map,
        volume.affine_ras,
        threshold.value,
        minimum_mm3,
        "suspected anomaly",
        identity,
        detection.uncertainty_map,
    )
    kept = found[: config.findings.maximum_count]
    return FindingsReport(
        image=_image_name(volume.source),
        method=request.method,
        model=model,
        config=config.name,
        prompts=prompts,
        image_score=detection.image_score,
        calibrated=detection.pixel_threshold is not None,
        threshold=threshold,
        image_threshold=detection.image_threshold,
        prompt_specificity=detection.prompt_specificity,
        nonfinite_voxels=volume.nonfinite_voxels,
        spacing_known=volume.spacing_known,
        heatmap=Heatmap(
            grid=(volume.shape[2], volume.shape[1], volume.shape[0]),
            min=float(np.nanmin(anomaly_map)),
            max=float(np.nanmax(anomaly_map)),
        ),
        findings=tuple(kept),
        warnings=tuple(_warnings(volume, config, model, unknown_words, detection, found, kept)),
    )


def _relative_threshold(anomaly_map: FloatArray, config: AnatomyConfig) -> Threshold:
    deviations = config.findings.threshold_sd
    return Threshold(value=region_threshold(anomaly_map, deviations), rule=f"mean + {deviations:g} sd of this map")


def _identity(
    volume: Volume, config: AnatomyConfig, request: DetectionRequest, prompts: PromptTexts, model: ModelIdentity
) -> str:
    """One hash of all that decides a result: the voxels wherever they lie, the settings, the texts and the weights."""
    settings = (config.model_dump_json(), prompts.model_dump_json(), request.method, str(request.seed))
    digest = hashlib.sha256("\n".join((model.weights_sha256, *settings)).encode())
    digest.update(volume.affine_ras.tobytes())
    digest.update(np.ascontiguousarray(volume.array).data)
    return digest.hexdigest()


def _image_name(source: str) -> str:
    """The last part of a path, also where the path is `.` or ends in `..`."""
    path = Path(source)
    return writable(path.resolve().name if path.name in {"", ".."} else path.name)


def _warnings(
    volume: Volume,
    config: AnatomyConfig,
    model: ModelIdentity,
    unknown_words: Sequence[str],
    detection: Detection,
    found: list[Finding],
    kept: list[Finding],
) -> list[str]:
    """What a reader must know before trusting the result."""
    warnings = list(detection.warnings)
    if detection.pixel_threshold is None:
        warnings.append("The threshold is relative to this image: a healthy image gets findings too.")
    bound = config.attention.specificity_bound
    if detection.prompt_specificity is not None and detection.prompt_specificity < bound:
        warnings.append(
            f"The map hardly depends on its prompt (specificity {detection.prompt_specificity:.2f}, bound {bound:g}): "
            "an empty or nonsense text gives nearly the same one."
        )
    if unknown_words:
        warnings.append(f"The model {model.name} never saw these words: {', '.join(unknown_words)}.")
    if volume.nonfinite_voxels:
        warnings.append(f"{volume.nonfinite_voxels} voxels hold no number; they were not looked at.")
    if not volume.spacing_known:
        warnings.append("The file tells no spacing; sizes assume pixels of 1 mm.")
    if len(kept) < len(found):
        warnings.append(f"Only the {len(kept)} highest-scoring of {len(found)} findings are listed.")
    return warnings
