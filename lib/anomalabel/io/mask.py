"""Masks: pictures and volumes in which whatever is larger than 0 is marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalabel.io.picture import JPEG_MAGIC
from anomalabel.io.read import read_volume


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(Z, Y, X), True where the file is larger than 0.

    In a JPEG larger than half its maximum: lossy compression leaves ripples above 0 around every edge.

    Raises:
        ImageReadError: it cannot be read.
    """
    values = read_volume(path).array
    if path.is_dir():
        return values > 0
    with path.open("rb") as stream:
        lossy = stream.read(len(JPEG_MAGIC)) == JPEG_MAGIC
    return values > (float(values.max()) / 2 if lossy else 0)
