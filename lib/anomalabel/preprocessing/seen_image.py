"""An image with what it takes to draw it as a network saw it."""

from __future__ import annotations

from dataclasses import dataclass

from anomalabel.config import AnatomyConfig
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.volume import Volume


@dataclass(frozen=True)
class SeenImage:
    """A volume beside what was made of it.

    Args:
        volume: as read.
        prepared: its intensities in [0, 1], on the same grid.
        config: that it was prepared and looked at with.
    """

    volume: Volume
    prepared: PreparedVolume
    config: AnatomyConfig
