"""What methods can show beside their anomaly map; asked before an image is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from anomalabel.config import DetectionRequest, ExtraMap, Method
from anomalabel.detectors.base import Detection, Detector, PreparedImage, Progress, ShowingDetector
from anomalabel.errors import ConfigError

BOTH: frozenset[ExtraMap] = frozenset({"saliency", "reconstruction"})

SHOWN_BY: Mapping[Method, frozenset[ExtraMap]] = {
    "reconstruction": BOTH,
    "reconstruction_none": frozenset({"reconstruction"}),
    "reconstruction_ear": BOTH,
    "reconstruction_plp": BOTH,
    "reconstruction_clap": BOTH,
}
"""At most; where the config's or a model's saliency is none, that map is missing too."""


def require_shown_by_method(request: DetectionRequest) -> None:
    """Raise ConfigError where a request asks for extra maps that no detector of its method shows: before it learns."""
    _require(request, SHOWN_BY.get(request.method, frozenset()), f"The method {request.method}")


def require_shown(detector: Detector, request: DetectionRequest) -> None:
    """Raise ConfigError where a request asks for extra maps that this detector does not show."""
    shows = detector.shows if isinstance(detector, ShowingDetector) else frozenset()
    _require(request, shows, f"{detector.identity.name} ({request.method})")


def look(detector: Detector, image: PreparedImage, progress: Progress, extra_maps: Collection[ExtraMap]) -> Detection:
    """A detector's answer about an image, with the extra maps where any are wanted; `require_shown` comes first."""
    if extra_maps and isinstance(detector, ShowingDetector):
        return detector.detect(image.prepared, image.affine_ras, image.positions, progress, extra_maps)
    return detector.detect(image.prepared, image.affine_ras, image.positions, progress)


def _require(request: DetectionRequest, shows: frozenset[ExtraMap], who: str) -> None:
    missing = " or ".join(name for name in dict.fromkeys(request.extra_maps) if name not in shows)
    if not missing:
        return
    if shows:
        remedy = f"Ask for {' and '.join(sorted(shows))} alone, or use a model that was trained with a saliency."
    else:
        remedy = "Leave extra maps out, or choose the method reconstruction."
    raise ConfigError(f"{who} has no {missing} map to show.", remedy)
