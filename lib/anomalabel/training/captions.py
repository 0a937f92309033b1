"""Wordings of what a label says, for and against disease, so that a typed prompt meets a known one."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anomalabel.training.facts import DISEASED, FIELDS, HEALTHY, PLANTED, UNKNOWN, Facts

PLACEHOLDER = re.compile(r"\{(\w+)\}")

ORGAN_NAMES = {
    "brain": ("brain", "head", "cerebral tissue"),
    "breast": ("breast", "breast tissue"),
    "chest": ("chest", "lung", "lungs"),
}
MODALITY_NAMES = {
    "MRI": ("MRI", "MR image", "magnetic resonance image"),
    "ultrasound": ("ultrasound", "ultrasound image", "sonogram"),
    "X-ray": ("X-ray", "radiograph", "x-ray image"),
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
SHARED_NAMES = {
    "brain tumor": ("glioma", "meningioma", "pituitary"),
    "breast lesion": ("benign", "malignant"),
    "breast tumor": ("benign", "malignant"),
}
"""Names that several diseases have."""

CONDITIONS_OF = {
    "brain": ("glioma", "meningioma", "pituitary", "multiple sclerosis"),
    "breast": ("benign", "malignant"),
    "chest": ("pneumonia",),
}
PLANTED_NAMES = {
    "brain": ("focal lesion", "stroke", "metastasis", "brain lesion"),
    "breast": ("focal breast lesion", "breast mass"),
    "chest": ("nodule", "lung mass", "lung lesion"),
}
GENERAL_NAMES = ("lesion", "abnormality", "anomaly", "mass", "tumor", "abnormal finding", "disease", "pathology")
OPPOSITES = {
    "side": ("left", "right"),
    "height": ("upper", "lower"),
    "size": ("small", "large"),
    "plane": ("axial", "coronal", "sagittal"),
    "anatomy": tuple(ORGAN_NAMES),
    "modality": tuple(MODALITY_NAMES),
}

POSITIVE_FORMS = (
    "{condition}",
    "{condition}",
    "{modality} of the {anatomy} with {condition}",
    "scan of the {anatomy} with {condition}",
    "{plane} {modality} of the {anatomy} showing {condition}",
    "{condition} in the {anatomy}",
    "abnormal {anatomy} {modality} with {condition}",
    "signs of {condition}",
    "signs of {condition} in the {anatomy}",
    "{size} {condition}",
    "{condition} in the {height} {side} part of the image",
    "{size} {condition} in the {height} half of the {modality}",
    "{condition} in the {side} half of the {modality}",
    "{anatomy} with {condition} on the {side}",
)
PLAIN_POSITIVE_FORMS = POSITIVE_FORMS[:9]
"""Without size and place: true of every part of the lesion."""

NEGATIVE_FORMS = (
    "normal",
    "healthy",
    "normal, healthy {anatomy}",
    "normal {anatomy} appearance",
    "healthy {anatomy} tissue",
    "{modality} of a normal {anatomy}",
    "scan of a normal {anatomy}",
    "{plane} {modality} of a healthy {anatomy}",
    "no signs of {absent} in the {anatomy}",
    "{anatomy} {modality} without {absent}",
    "no signs of {absent}",
    "clear, normal, healthy",
)
NEGATIVE_EXTRAS = {
    "brain": ("normal, healthy gray matter", "healthy white matter", "normal gray matter"),
    "breast": ("normal fibroglandular tissue", "healthy breast tissue without mass"),
    "chest": ("healthy, clear fields, normal", "clear lungs", "clear lung fields"),
}
EXTRA_SHARE = 0.2
GENERAL_SHARE = 0.25


@dataclass(frozen=True)
class Caption:
    """A text and what it claims."""

    text: str
    says: Facts


def positive_caption(facts: Facts, draw: random.Random, placed: bool = True) -> Caption:
    """A wording that names a disease, with what else is known.

    Args:
        facts: of the image; for a healthy one or a planted lesion any disease of the anatomy is named.
        placed: whether size and place may be named.
    """
    condition = facts.condition
    if condition in (HEALTHY, PLANTED):
        condition = draw.choice((PLANTED, *CONDITIONS_OF[facts.anatomy]))
    names = PLANTED_NAMES[facts.anatomy] if condition == PLANTED else CONDITION_NAMES[condition]
    name, claimed = draw.choice(names), condition
    if draw.random() < GENERAL_SHARE:
        name, claimed = draw.choice(GENERAL_NAMES), DISEASED
    elif condition == PLANTED or name in SHARED_NAMES:
        claimed = DISEASED
    known = [form for form in (POSITIVE_FORMS if placed else PLAIN_POSITIVE_FORMS) if _place_is_known(form, facts)]
    caption = _write(draw.choice(known), replace(facts, condition=claimed), name, draw)
    # Only a general name says nothing about the organ.
    says = caption.says if name in GENERAL_NAMES else replace(caption.says, anatomy=facts.anatomy)
    return Caption(caption.text, says)


def negative_caption(facts: Facts, draw: random.Random) -> Caption:
    """A wording that says health."""
    healthy = replace(facts, condition=HEALTHY, side=UNKNOWN, height=UNKNOWN, size=UNKNOWN)
    if draw.random() < EXTRA_SHARE:
        return Caption(draw.choice(NEGATIVE_EXTRAS[facts.anatomy]), Facts(anatomy=facts.anatomy, condition=HEALTHY))
    return _write(draw.choice(NEGATIVE_FORMS), healthy, "", draw)


def changed_in_one_word(facts: Facts, caption: Caption, draw: random.Random) -> Caption | None:
    """The caption with one property of the image made wrong; None if it names none that has an opposite."""
    named = [
        name
        for name in OPPOSITES
        if getattr(caption.says, name) not in (UNKNOWN, None) and getattr(caption.says, name) == getattr(facts, name)
    ]
    draw.shuffle(named)
    for name in named:
        true_value = getattr(facts, name)
        wrong = draw.choice([value for value in OPPOSITES[name] if value != true_value])
        words = sorted(_words_for(name, true_value), key=len, reverse=True)
        # Every mention, since "no breast tumor in the brain" would be true of a healthy brain; not in "extra-axial".
        pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, words))})(?!\w)")
        if pattern.search(caption.text):
            text = _undoubled(pattern.sub(draw.choice(_words_for(name, wrong)), caption.text))
            return Caption(text, replace(caption.says, **{name: wrong}))
    return None


def every_wording() -> Sequence[str]:
    """All fragments that a caption can hold; what the tokenizer learns its merges from."""
    groups = (ORGAN_NAMES, MODALITY_NAMES, CONDITION_NAMES, PLANTED_NAMES, NEGATIVE_EXTRAS)
    fragments = [name for group in groups for names in group.values() for name in names]
    forms = [PLACEHOLDER.sub(" ", form) for form in (*POSITIVE_FORMS, *NEGATIVE_FORMS)]
    return [*fragments, *forms, *GENERAL_NAMES, *(word for words in OPPOSITES.values() for word in words)]


def _place_is_known(form: str, facts: Facts) -> bool:
    named = PLACEHOLDER.findall(form)
    return all(getattr(facts, field) for field in ("side", "height", "size") if field in named)


def _words_for(field: str, value: str) -> tuple[str, ...]:
    names: dict[str, Mapping[str, tuple[str, ...]]] = {"anatomy": ORGAN_NAMES, "modality": MODALITY_NAMES}
    return names[field][value] if field in names else (value,)


def _undoubled(text: str) -> str:
    """ "healthy breast tissue tissue" names one tissue."""
    return re.sub(r"\b(\w+) \1\b", r"\1", text)


def _write(form: str, claims: Facts, condition: str, draw: random.Random) -> Caption:
    """Fill a form; what it does not name is not claimed, what is not known leaves its place empty."""
    named = set(PLACEHOLDER.findall(form))
    values = {
        field: draw.choice(_words_for(field, getattr(claims, field))) if getattr(claims, field) else ""
        for field in FIELDS
        if field != "condition"
    }
    absent = draw.choice((*CONDITION_NAMES[draw.choice(CONDITIONS_OF[claims.anatomy])], *GENERAL_NAMES))
    text = _undoubled(" ".join(form.format(**values, condition=condition, absent=absent).split()))
    said = {field: getattr(claims, field) for field in FIELDS if field in named}
    return Caption(text, Facts(**{**said, "condition": claims.condition}))
