"""A small byte-pair vocabulary in the file format that open_clip's `SimpleTokenizer` reads."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import regex

WORD = regex.compile(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The `count` most useful byte-pair merges of lower-cased ASCII texts (Sennrich et al. 2016, algorithm 1)."""
    words = Counter(word for text in texts for word in WORD.findall(text.lower()))
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, frequency in words.items():
            for pair in zip(pieces[word], pieces[word][1:], strict=False):
                pairs[pair] += frequency
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in words:
            pieces[word] = _merged(pieces[word], best)
    return merges


def write_merges(path: Path, merges: Iterable[tuple[str, str]]) -> None:
    """Write merges as open_clip reads them: gzip, a version line, then one pair a line."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    path.write_bytes(gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))


def known_words(texts: Iterable[str]) -> list[str]:
    """All words of letters in the texts, lower case, sorted; other words mean nothing to a model trained on them."""
    return sorted({word for text in texts for word in WORD.findall(text.lower()) if word.isalpha()})


def vocabulary_size(merges: list[tuple[str, str]]) -> int:
    """Bytes, bytes that end a word, merges, start and end of text."""
    return 256 + 256 + len(merges) + 2


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result
