"""Spellings that are the same term."""

from hypothesis import given
from hypothesis import strategies as st

from anomalabel.prompts.ontology.spelling import asked_keys, folded, stored_keys

WORDS = st.lists(st.from_regex(r"[a-z]{4,9}", fullmatch=True), min_size=1, max_size=4)


@given(WORDS)
def test_case_hyphens_and_spaces_make_no_difference(words):
    spellings = ("-".join(words), " ".join(words).upper(), f"  {'   '.join(words)} ", "\u2011".join(words))
    assert len({folded(spelling) for spelling in spellings}) == 1


@given(WORDS)
def test_a_regular_plural_is_found_under_its_singular_and_the_other_way(words):
    singular = " ".join(words)
    assert singular in asked_keys(singular + "s") or words[-1].endswith("s")
    assert words[-1].endswith("s") or singular + "s" in asked_keys(singular)


@given(st.text())
def test_as_written_comes_first(text):
    assert asked_keys(text)[: len(stored_keys(text))] == stored_keys(text)


def test_a_hyphen_may_be_left_out_altogether():
    assert set(stored_keys("non-small cell")) == {"non small cell", "nonsmall cell"}


def test_short_words_have_no_other_number():
    assert "ga" not in asked_keys("gas")
    assert "gas" not in asked_keys("ga")
