"""The methods: from a prepared image to an anomaly map, all behind one interface."""

from anomalabel.detectors.base import Detection, Progress, evenly_spread
from anomalabel.detectors.clap import ClapDetector

__all__ = ["ClapDetector", "Detection", "Progress", "evenly_spread"]
