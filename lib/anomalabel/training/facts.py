"""What is known about an image, what a text says, and whether the text is true of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from anomalabel.volume import FloatArray

UNKNOWN = ""
HEALTHY = "healthy"
DISEASED = "diseased"
"""Some disease, whichever: what "lesion" or "abnormality" says."""

PLANTED = "planted"
"""The disease of a planted lesion: every disease's name may stand for it."""

SMALL_SHARE, LARGE_SHARE = 0.01, 0.05
"""A lesion that covers less than the first share of the image is small, more than the second large."""

MIDDLE = (0.42, 0.58)
"""Centres between these parts of the image's side are neither left nor right, neither upper nor lower."""


@dataclass(frozen=True)
class Facts:
    """Properties of an image or claims of a text; "" = not known, or not said.

    Sides are those of the picture, since not every file tells which side of the patient is shown where.

    Args:
        anatomy: "brain", "breast", "chest". modality: "MRI", "ultrasound", "X-ray".
        plane: "axial", "coronal", "sagittal". condition: HEALTHY, DISEASED, PLANTED or a disease.
        side: "left", "right". height: "upper", "lower". size: "small", "large".
    """

    anatomy: str = UNKNOWN
    modality: str = UNKNOWN
    plane: str = UNKNOWN
    condition: str = UNKNOWN
    side: str = UNKNOWN
    height: str = UNKNOWN
    size: str = UNKNOWN


FIELDS = tuple(field.name for field in fields(Facts))


def truth_table(claims: Sequence[Facts], images: Sequence[Facts]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which claims are true of which images, and which are false; neither where an image's property is not known.

    A claim in the place of an image stands for an image of which nothing else is known.

    Returns:
        (images, claims) bool, twice. Diseases contradict health and each other; DISEASED and PLANTED only health.
    """
    false = np.zeros((len(images), len(claims)), dtype=bool)
    unknown = false.copy()
    for name in FIELDS:
        said = np.array([getattr(claim, name) for claim in claims])[None]
        known = np.array([getattr(image, name) for image in images])[:, None]
        differs = (said != UNKNOWN) & (known != UNKNOWN) & (said != known)
        if name == "condition":
            some = np.isin(said, (DISEASED, PLANTED)) | np.isin(known, (DISEASED, PLANTED))
            differs &= ~some | (said == HEALTHY) | (known == HEALTHY)
        false |= differs
        unknown |= (said != UNKNOWN) & (known == UNKNOWN)
    return ~false & ~unknown, false


def place_of(lesion: FloatArray) -> tuple[str, str, str]:
    """Side, height and size of a lesion (H, W), values above 0.5 inside; "" three times where there is none."""
    inside = np.argwhere(lesion > 0.5)
    if not len(inside):
        return UNKNOWN, UNKNOWN, UNKNOWN
    row, column = inside.mean(axis=0) / lesion.shape
    share = len(inside) / lesion.size
    side = "left" if column < MIDDLE[0] else "right" if column > MIDDLE[1] else UNKNOWN
    height = "upper" if row < MIDDLE[0] else "lower" if row > MIDDLE[1] else UNKNOWN
    size = "small" if share < SMALL_SHARE else "large" if share > LARGE_SHARE else UNKNOWN
    return side, height, size
