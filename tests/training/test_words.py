from __future__ import annotations

import random
from pathlib import Path

import open_clip
import pytest

from anomalabel.training.captions import every_wording, negative_caption, positive_caption
from anomalabel.training.tokenizer import known_words, learn_merges, vocabulary_size, write_merges

ANATOMIES = {"brain": ("MRI", "glioma"), "breast": ("ultrasound", "benign"), "chest": ("X-ray", "pneumonia")}


@pytest.mark.parametrize("anatomy", sorted(ANATOMIES))
def test_every_caption_is_made_of_known_words(anatomy: str) -> None:
    modality, condition = ANATOMIES[anatomy]
    known = set(known_words(every_wording()))
    draw = random.Random(0)
    for _ in range(300):
        for text in (
            positive_caption(anatomy, modality, "axial", condition, draw),
            positive_caption(anatomy, modality, "", "planted", draw),
            negative_caption(anatomy, modality, "axial", draw),
        ):
            assert "{" not in text
            assert set(known_words([text])) <= known


def test_placeholders_are_no_words() -> None:
    assert not {"condition", "organ", "modality", "plane"} & set(known_words(every_wording()))


def test_merges_by_hand() -> None:
    assert learn_merges(["aab aab ab"], 2) == [("a", "b</w>"), ("a", "ab</w>")]


def test_open_clip_reads_the_merges_back(tmp_path: Path) -> None:
    merges = learn_merges(["lesion lesion normal"], 100)
    write_merges(tmp_path / "merges.txt.gz", merges)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(tmp_path / "merges.txt.gz"), context_length=8)
    assert tokenizer.vocab_size == vocabulary_size(merges)
    assert len(tokenizer.encode("lesion")) == 1
    assert tokenizer.decode(tokenizer.encode("normal lesion")).strip() == "normal lesion"
    assert int(tokenizer(["lesion"]).max()) == vocabulary_size(merges) - 1, "end of text is the highest id"
