"""Small pictures of two organs, and a plan that draws from them."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.training.images import BatchPlan, TrainingImages

SIDE = 64


@pytest.fixture(scope="session")
def images() -> TrainingImages:
    """Two boxed gliomas, two healthy heads, a pneumonia of unknown place and a healthy chest, 64 x 64."""
    kinds = [("brain", "glioma")] * 2 + [("brain", "healthy")] * 2 + [("chest", "pneumonia"), ("chest", "healthy")]
    pictures, lesions = [], []
    for number, (anatomy, condition) in enumerate(kinds):
        picture, lesion = np.zeros((2, SIDE, SIDE), dtype=np.uint8)
        picture[4:60, 4:60] = 110 + np.random.default_rng(number).integers(0, 20, (56, 56))
        if (anatomy, condition) == ("brain", "glioma"):
            picture[12:24, 10:22] = 250
            lesion[12:24, 10:22] = 255
        pictures.append(picture)
        lesions.append(lesion)
    anatomies = [anatomy for anatomy, _ in kinds]
    return TrainingImages(
        image=np.stack(pictures),
        lesion=np.stack(lesions),
        located=np.array([True] * 4 + [False, True]),
        anatomy=np.array(anatomies),
        modality=np.array(["MRI" if anatomy == "brain" else "X-ray" for anatomy in anatomies]),
        plane=np.array(["axial"] * 4 + ["", ""]),
        condition=np.array([condition for _, condition in kinds]),
    )


@pytest.fixture(scope="session")
def plan() -> BatchPlan:
    """Six singles, then a pair with a planted lesion, then a pair of crops."""
    return BatchPlan(
        singles={("brain", "glioma"): 2, ("chest", "pneumonia"): 2, ("chest", "healthy"): 2},
        planted={"brain": 1},
        crops={"brain": 1},
        incomparable=frozenset({"glioma"}),
    )
