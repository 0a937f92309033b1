"""When two spellings are the same term: case, hyphens and the plural of the last word do not matter, all else does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

HYPHENS = re.compile(r"[-_\u00ad\u2010-\u2015\u2212]")
LATIN_PLURALS = (
    *(("ses", "sis"), ("tes", "tis"), ("mata", "ma"), ("ae", "a"), ("ia", "ium"), ("i", "us")),
    *(("ices", "ex"), ("ices", "ix")),
)
SHORTEST_PLURAL = 4
"""Letters: "gas" is no plural of "ga"."""


def folded(text: str) -> str:
    """Case, kind of white space and hyphens taken out: "X-Ray" and "x ray" become the same."""
    return " ".join(HYPHENS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())


def stored_keys(text: str) -> tuple[str, ...]:
    """Under which a name is found: with its hyphens as spaces, and without them ("non-small", "nonsmall")."""
    keys = (folded(text), folded(HYPHENS.sub("", text)))
    return tuple(key for key in dict.fromkeys(keys) if key)


def asked_keys(term: str) -> tuple[str, ...]:
    """Under which a term is looked for, best first: as written, then with its last word in the other number."""
    written = stored_keys(term)
    others = (other for key in written for other in _other_numbers(key))
    return tuple(key for key in dict.fromkeys((*written, *others)) if key)


def _other_numbers(key: str) -> Iterator[str]:
    before, space, word = key.rpartition(" ")
    for other in (*_singulars(word), *_plurals(word)):
        yield f"{before}{space}{other}"


def _singulars(word: str) -> Iterator[str]:
    if len(word) < SHORTEST_PLURAL:
        return
    for plural, singular in LATIN_PLURALS:
        if word.endswith(plural) and len(word) > len(plural) + 1:
            yield word.removesuffix(plural) + singular
    if word.endswith("ies") and len(word) > SHORTEST_PLURAL:
        yield word.removesuffix("ies") + "y"
    if re.search(r"(s|x|z|ch|sh|o)es$", word):
        yield word.removesuffix("es")
    if re.search(r"[^s]s$", word):
        yield word.removesuffix("s")


def _plurals(word: str) -> Iterator[str]:
    if len(word) < SHORTEST_PLURAL - 1:
        return
    for plural, singular in LATIN_PLURALS:
        if word.endswith(singular) and len(word) > len(singular) + 1:
            yield word.removesuffix(singular) + plural
    if re.search(r"[^aeiou]y$", word):
        yield word.removesuffix("y") + "ies"
    if re.search(r"(s|x|z|ch|sh|o)$", word):
        yield word + "es"
    if re.search(r"[^s]$", word):
        yield word + "s"
