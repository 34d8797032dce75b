"""When two answers count as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text import normalise, same_answer

SAME = [
    ("The night desk answers until three.", "the night desk answers until three"),
    ("Open  Settings,\n then 'Wi-Fi'!", "open settings then WiFi"),
    ("caf\u00e9", "cafe\u0301"),
    ("\ufb01le \uff21\uff22\uff23 \u00b2", "file abc 2"),
    ("Stra\u00dfe", "STRASSE"),
    ("\u00bfQu\u00e9 hora es?", "qu\u00e9 hora es"),
    ("\u4eca\u65e5\u306f\u3001\u4e16\u754c\u3002", "\u4eca\u65e5\u306f \u4e16\u754c"),
    ("no\u00a0break\u200bspace\u00ad", "no break space"),
    ("`ctrl` \u2014 press it", "ctrl press it"),
    ("it\u00b4s 5 \u2026", "its 5..."),
    ("", " ...\t"),
]
DIFFERENT = [
    ("until three", "until four"),
    ("resume", "r\u00e9sum\u00e9"),
    ("C++", "C"),
    ("5 $", "5 \u20ac"),
    ("yes", ""),
    ("\U0001f44d", "\U0001f44e"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_case_spaces_punctuation_and_forms_of_a_letter_do_not_matter(a: str, b: str) -> None:
    assert same_answer(a, b)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_letters_digits_accents_and_symbols_matter(a: str, b: str) -> None:
    assert not same_answer(a, b)


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(), st.text(st.characters(categories=["P", "Z", "Cc", "Cf", "Sk"])), st.integers(0))
def test_spaces_and_punctuation_anywhere_change_nothing(text: str, noise: str, place: int) -> None:
    cut = place % (len(text) + 1)
    assert same_answer(text, text[:cut] + noise + text[cut:])


@given(st.text(st.characters(categories=["L"])))
def test_upper_and_lower_case_are_the_same(text: str) -> None:
    assert same_answer(text, text.casefold())


@given(st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_letters_and_digits_never_vanish(text: str) -> None:
    assert normalise(text)
