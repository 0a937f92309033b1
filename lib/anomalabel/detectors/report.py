"""What a detection says, as the report that travels with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anomalabel.attention.clap import region_threshold
from anomalabel.config import AnatomyConfig, DetectionRequest
from anomalabel.detectors.base import Detection
from anomalabel.errors import writable
from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.findings import extract_findings
from anomalabel.volume import FloatArray, Volume


def build_report(
    volume: Volume,
    config: AnatomyConfig,
    request: DetectionRequest,
    prompts: PromptTexts,
    model: ModelIdentity,
    unknown_words: Sequence[str],
    detection: Detection,
) -> FindingsReport:
    """Findings and facts of one detection.

    Args:
        volume: that was looked at.
        config: with what the request chose in it.
        request: method, seed and texts.
        prompts: the rendered texts.
        model: whose weights answered.
        unknown_words: words of the texts that the model never saw.
        detection: its map shows at least one voxel.
    """
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
        minimum_volume_mm3=minimum_mm3,
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
    settings = (config.deciding_json(), prompts.model_dump_json(), request.method, str(request.seed))
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
