from __future__ import annotations

from pathlib import Path

import open_clip

from anomalabel.training.tokenizer import known_words, learn_merges, vocabulary_size, write_merges


def test_merges_by_hand() -> None:
    assert learn_merges(["aab aab ab"], 2) == [("a", "b</w>"), ("a", "ab</w>")]


def test_merges_end_when_every_word_is_one_piece() -> None:
    assert learn_merges(["ab"], 10) == [("a", "b</w>")]


def test_words_are_letters_in_lower_case() -> None:
    assert known_words(["T2 MRI, extra-axial", "Mri 3"]) == ["axial", "extra", "mri", "t"]


def test_open_clip_reads_the_merges_back(tmp_path: Path) -> None:
    merges = learn_merges(["lesion lesion normal"], 100)
    write_merges(tmp_path / "merges.txt.gz", merges)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(tmp_path / "merges.txt.gz"), context_length=8)
    assert tokenizer.vocab_size == vocabulary_size(merges)
    assert len(tokenizer.encode("lesion")) == 1
    assert tokenizer.decode(tokenizer.encode("normal lesion")).strip() == "normal lesion"
    assert int(tokenizer(["lesion"]).max()) == vocabulary_size(merges) - 1, "end of text is the highest id"
