"""Captions read back word by word: what they say is what they claim."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.training.captions import (
    CONDITION_NAMES,
    CONDITIONS_OF,
    GENERAL_NAMES,
    MODALITY_NAMES,
    ORGAN_NAMES,
    PLANTED_NAMES,
    Caption,
    changed_in_one_word,
    every_wording,
    negative_caption,
    positive_caption,
)
from anomalabel.training.facts import DISEASED, HEALTHY, PLANTED, Facts, truth_table
from anomalabel.training.tokenizer import known_words

MODALITY_OF = {"brain": "MRI", "breast": "ultrasound", "chest": "X-ray"}
SAID_BY = {
    "side": {"left": ["left"], "right": ["right"]},
    "height": {"upper": ["upper"], "lower": ["lower"]},
    "size": {"small": ["small"], "large": ["large"]},
    "plane": {plane: [plane] for plane in ("axial", "coronal", "sagittal")},
    "anatomy": ORGAN_NAMES,
    "modality": MODALITY_NAMES,
}
HEALTH = re.compile(r"\b(normal|healthy|clear|without|no signs of)\b")
GAP = re.compile(
    r"\{|  |^ | $|\b(\w+) \1\b|\b(the|a|and|in|of|on|with|without|showing) ?(,|$)"
    r"|\b(the|a) (in|of|on|with|part|half|showing)\b"
)
AMBIGUOUS = ("brain tumor", "breast lesion", "breast tumor")
KNOWN = set(known_words(every_wording()))


@st.composite
def facts_of_images(draw: st.DrawFn) -> Facts:
    anatomy = draw(st.sampled_from(sorted(CONDITIONS_OF)))
    return Facts(
        anatomy=anatomy,
        modality=MODALITY_OF[anatomy],
        plane=draw(st.sampled_from(["", "axial", "coronal", "sagittal"])),
        condition=draw(st.sampled_from([HEALTHY, PLANTED, *CONDITIONS_OF[anatomy]])),
        side=draw(st.sampled_from(["", "left", "right"])),
        height=draw(st.sampled_from(["", "upper", "lower"])),
        size=draw(st.sampled_from(["", "small", "large"])),
    )


def mentioned(text: str, field: str) -> set[str]:
    """The values of a property that a text has words for; the axial in "extra-axial" is none."""
    return {
        value
        for value, words in SAID_BY[field].items()
        if any(re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", text) for word in words)
    }


def read_back(caption: Caption) -> None:
    """The words of a text against its claims."""
    for field in ("side", "height", "size", "plane", "modality"):
        assert mentioned(caption.text, field) == {getattr(caption.says, field)} - {""}
    assert not GAP.search(caption.text)
    assert set(known_words([caption.text])) <= KNOWN


@given(facts=facts_of_images(), seed=st.integers(0, 10_000), placed=st.booleans())
def test_a_positive_caption_says_what_it_claims(facts: Facts, seed: int, placed: bool) -> None:
    caption = positive_caption(facts, random.Random(seed), placed)
    read_back(caption)
    says = caption.says
    assert not HEALTH.search(caption.text)
    assert mentioned(caption.text, "anatomy") <= {facts.anatomy}
    organless = [*GENERAL_NAMES, *PLANTED_NAMES[facts.anatomy]]
    named = [name for name in organless if name in caption.text]
    for condition in CONDITIONS_OF[facts.anatomy]:
        named += [name for name in CONDITION_NAMES[condition] if name in caption.text]
    longest = max(named, key=len)
    owners = [name for name in CONDITIONS_OF[facts.anatomy] if longest in CONDITION_NAMES[name]]
    if longest in GENERAL_NAMES:
        assert says.condition == DISEASED
        assert says.anatomy == "".join(mentioned(caption.text, "anatomy"))
    else:
        assert says.anatomy == facts.anatomy, "no disease but of this organ"
        assert says.condition == (DISEASED if longest in AMBIGUOUS or not owners else owners[0])
    if not placed:
        assert (says.side, says.height, says.size) == ("", "", "")
    true, false = truth_table([says], [facts])
    assert true[0, 0] == (facts.condition != HEALTHY)
    assert false[0, 0] == (facts.condition == HEALTHY)


@given(facts=facts_of_images(), seed=st.integers(0, 10_000))
def test_a_negative_caption_says_health_and_no_place(facts: Facts, seed: int) -> None:
    caption = negative_caption(facts, random.Random(seed))
    read_back(caption)
    assert HEALTH.search(caption.text)
    says = caption.says
    assert (says.condition, says.side, says.height, says.size) == (HEALTHY, "", "", "")
    assert mentioned(caption.text, "anatomy") <= {facts.anatomy}
    if says.anatomy:
        assert says.anatomy == facts.anatomy
    else:
        assert caption.text in ("normal", "healthy", "clear, normal, healthy") or caption.text.startswith("no signs of")


@given(facts=facts_of_images(), seed=st.integers(0, 10_000), healthy=st.booleans())
def test_one_changed_word_makes_one_claim_false(facts: Facts, seed: int, healthy: bool) -> None:
    draw = random.Random(seed)
    caption = negative_caption(facts, draw) if healthy else positive_caption(facts, draw)
    changed = changed_in_one_word(facts, caption, draw)
    fields = [field for field in SAID_BY if getattr(facts, field) and getattr(caption.says, field)]
    visible = [field for field in fields if mentioned(caption.text, field)]
    assert (changed is None) == (not visible)
    if changed is None:
        return
    differing = [field for field in vars(facts) if getattr(changed.says, field) != getattr(caption.says, field)]
    assert len(differing) == 1
    wrong = getattr(changed.says, differing[0])
    assert mentioned(changed.text, differing[0]) == {wrong}, "no trace of what was true"
    for field in set(SAID_BY) - set(differing):
        assert mentioned(changed.text, field) == mentioned(caption.text, field)
    assert truth_table([changed.says], [facts])[1][0, 0]
    assert not GAP.search(changed.text)
    assert set(known_words([changed.text])) <= KNOWN


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("axial MRI of the brain showing extra-axial mass", "plane", r"(coronal|sagittal) MRI .* showing extra-axial"),
        ("no signs of brain tumor in the head", "anatomy", r"no signs of (.+) tumor in the \1"),
        ("small glioma in the upper half of the MRI", "size", "large glioma in the upper half of the MRI"),
    ],
)
def test_changes_by_hand(text: str, field: str, expected: str) -> None:
    facts = Facts("brain", "MRI", "axial", "glioma", "left", "upper", "small")
    caption = Caption(text, Facts(**{field: getattr(facts, field)}))
    for seed in range(10):
        changed = changed_in_one_word(facts, caption, random.Random(seed))
        assert changed is not None
        assert re.fullmatch(expected + ".*", changed.text)


def test_names_that_two_diseases_share_claim_neither() -> None:
    draw = random.Random(0)
    captions = [positive_caption(Facts("breast", "ultrasound", "", "benign"), draw) for _ in range(500)]
    claimed = {caption.says.condition for caption in captions if re.search("breast (lesion|tumor)", caption.text)}
    assert claimed == {DISEASED}
    assert {caption.says.condition for caption in captions if "fibroadenoma" in caption.text} == {"benign"}


def test_every_disease_of_every_anatomy_is_worded_in_many_ways() -> None:
    draw = random.Random(0)
    for anatomy, conditions in CONDITIONS_OF.items():
        for condition in conditions:
            facts = Facts(anatomy, MODALITY_OF[anatomy], "", condition, "left", "upper", "small")
            assert len({positive_caption(facts, draw).text for _ in range(300)}) > 100
            assert len({negative_caption(facts, draw).text for _ in range(300)}) > 60


def test_placeholders_are_no_words() -> None:
    assert not {"condition", "organ", "modality", "plane", "absent", "side", "height", "size"} & KNOWN
