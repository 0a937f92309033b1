"""Published results that a repetition is put beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = (
    "Y. Park, M. J. Kim, H. S. Kim: Contrastive Language Prompting to Ease False Positives in Medical Anomaly "
    "Detection, Table 2 (image AUROC on BMAD, percent)"
)

COLUMNS: Mapping[str, str] = {
    "brain": "BraTS2021",
    "liver": "BTCV+LiTs",
    "resc": "RESC",
    "oct2017": "OCT2017",
    "chest": "RSNA chest",
    "histopathology": "CAMELYON16",
}
"""BMAD's sets by their keys, in the order of the table, as it heads them; for the chest it names no set."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of the table.

    Args:
        title: as it is named there.
        method: that repeats it, as it is called here.
        network: that gave the saliency.
        auroc: percent by set.
        average: as it is printed.
    """

    title: str
    method: str
    network: str
    auroc: Mapping[str, float]
    average: float


def _row(title: str, method: str, network: str, average: float, *auroc: float) -> PublishedRow:
    return PublishedRow(title, method, network, dict(zip(COLUMNS, auroc, strict=True)), average)


PUBLISHED = (
    _row("EAR", "reconstruction_ear", "DINO", 78.21, 77.37, 72.51, 86.42, 97.46, 71.69, 63.39),
    _row("PLP", "reconstruction_plp", "BiomedCLIP", 77.23, 73.54, 72.76, 90.08, 96.77, 65.23, 64.98),
    _row("CLAP", "reconstruction_clap", "BiomedCLIP", 78.89, 78.55, 72.60, 91.66, 96.38, 65.76, 68.42),
)
"""The printed average of EAR is 0.07 above the mean of its six numbers (78.14); the others are theirs."""

EPOCHS, SAMPLES = 20, 3000
"""Of the published training: epochs, and healthy images drawn in each."""
