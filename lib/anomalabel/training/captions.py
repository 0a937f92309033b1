"""Wordings of what a label says, for and against disease, so that a typed prompt meets a known one."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

PLACEHOLDER = re.compile(r"\{\w+\}")

ORGAN_NAMES = {
    "brain": ("brain", "head", "cerebral tissue"),
    "breast": ("breast", "breast tissue"),
    "chest": ("chest", "lung", "lungs"),
}
MODALITY_NAMES = {
    "MRI": ("MRI", "MR image", "magnetic resonance image", "scan"),
    "ultrasound": ("ultrasound", "ultrasound image", "sonogram", "scan"),
    "X-ray": ("X-ray", "radiograph", "x-ray image", "scan"),
}
CONDITION_NAMES = {
    "glioma": ("glioma", "glioma, astrocytoma, oligodendroglioma", "astrocytoma", "oligodendroglioma", "brain tumor"),
    "meningioma": ("meningioma", "meningeal tumor", "brain tumor", "extra-axial mass"),
    "pituitary": ("pituitary tumor", "pituitary adenoma", "sellar mass", "brain tumor"),
    "multiple sclerosis": ("multiple sclerosis lesion", "white matter lesion", "demyelinating plaque"),
    "benign": ("benign nodule", "benign mass", "fibroadenoma", "cyst", "breast lesion"),
    "malignant": ("malignant mass", "breast cancer", "carcinoma", "breast tumor", "malignant tumor"),
    "pneumonia": ("pneumonia", "consolidation", "consolidation, fibrosis, atelectasis", "opacity", "infiltrate"),
}
PLANTED_NAMES = {
    "brain": (*CONDITION_NAMES["glioma"], "white matter lesion", "focal lesion", "stroke", "metastasis"),
    "breast": (*CONDITION_NAMES["benign"], *CONDITION_NAMES["malignant"]),
    "chest": ("consolidation", "consolidation, fibrosis, atelectasis", "opacity", "nodule", "mass"),
}
GENERAL_NAMES = ("lesion", "abnormality", "anomaly", "mass", "tumor", "abnormal finding", "disease", "pathology")

POSITIVE_FORMS = (
    "{condition}",
    "{condition}",
    "{modality} of the {organ} with {condition}",
    "{plane} {modality} of the {organ} showing {condition}",
    "{condition} in the {organ}",
    "abnormal {organ} {modality} with {condition}",
    "signs of {condition}",
)
NEGATIVE_FORMS = (
    "normal",
    "healthy",
    "normal, healthy {organ}",
    "normal {organ} appearance",
    "healthy {organ} tissue",
    "{modality} of a normal {organ}",
    "{plane} {modality} of a healthy {organ}",
    "no signs of {condition}",
    "{organ} {modality} without {condition}",
    "clear, normal, healthy",
)
NEGATIVE_EXTRAS = {
    "brain": ("normal, healthy gray matter", "healthy white matter", "normal gray matter"),
    "breast": ("normal fibroglandular tissue", "healthy breast tissue without mass"),
    "chest": ("healthy, clear fields, normal", "clear lungs", "clear lung fields"),
}


def positive_caption(anatomy: str, modality: str, plane: str, condition: str, draw: random.Random) -> str:
    """One wording that names the disease; `condition` "planted" draws from what a planted lesion may stand for."""
    names = PLANTED_NAMES[anatomy] if condition == "planted" else CONDITION_NAMES[condition]
    name = draw.choice(GENERAL_NAMES) if draw.random() < 0.25 else draw.choice(names)
    return _fill(draw.choice(POSITIVE_FORMS), anatomy, modality, plane, name, draw)


def negative_caption(anatomy: str, modality: str, plane: str, draw: random.Random) -> str:
    """One wording that says health."""
    if draw.random() < 0.25:
        return draw.choice(NEGATIVE_EXTRAS[anatomy])
    condition = draw.choice((*PLANTED_NAMES[anatomy], *GENERAL_NAMES))
    return _fill(draw.choice(NEGATIVE_FORMS), anatomy, modality, plane, condition, draw)


def every_wording() -> Sequence[str]:
    """All fragments that a caption can hold; what the tokenizer learns its merges from."""
    groups = (ORGAN_NAMES, MODALITY_NAMES, CONDITION_NAMES, PLANTED_NAMES, NEGATIVE_EXTRAS)
    fragments = [name for group in groups for names in group.values() for name in names]
    forms = [PLACEHOLDER.sub(" ", form) for form in (*POSITIVE_FORMS, *NEGATIVE_FORMS)]
    return [*fragments, *forms, *GENERAL_NAMES, "axial", "coronal", "sagittal", "frontal"]


def _fill(form: str, anatomy: str, modality: str, plane: str, condition: str, draw: random.Random) -> str:
    text = form.format(
        organ=draw.choice(ORGAN_NAMES[anatomy]),
        modality=draw.choice(MODALITY_NAMES[modality]),
        plane=plane,
        condition=condition,
    )
    return " ".join(text.split())
