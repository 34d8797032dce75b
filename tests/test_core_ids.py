"""Identifiers: their order is the order of time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids

MILLIS = st.integers(0, 2**48 - 1)


@given(MILLIS, MILLIS)
def test_sorting_ids_sorts_by_time(a: int, b: int) -> None:
    first, second = ids.new_id(a), ids.new_id(b)
    if a != b:
        assert (first < second) == (a < b)


@given(MILLIS)
def test_the_time_comes_back_out(millis: int) -> None:
    assert ids.millis_of(ids.new_id(millis)) == millis


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_two_numbers_never_share_an_id_and_keep_their_order(a: int, b: int) -> None:
    assert (ids.encode(a) == ids.encode(b)) == (a == b)
    assert (ids.encode(a) < ids.encode(b)) == (a < b)


def test_ten_thousand_ids_of_one_millisecond_differ() -> None:
    assert len({ids.new_id(1) for _ in range(10_000)}) == 10_000


def test_an_id_is_26_characters_that_cannot_be_mistaken_for_one_another() -> None:
    assert len(ids.new_id()) == ids.LENGTH
    assert set(ids.new_id()) <= set(ids.ALPHABET)
    assert not set("ilou") & set(ids.ALPHABET)
    assert list(ids.ALPHABET) == sorted(set(ids.ALPHABET))


@pytest.mark.parametrize("text", ["i" * 26, "0" * 25, "0" * 27, "", "A" * 26])
def test_what_is_not_an_id_has_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        ids.millis_of(text)


@pytest.mark.parametrize("prefix", ["", ids.CHAT_PREFIX, ids.COMPLETION_PREFIX])
def test_an_interaction_is_found_by_its_public_id(prefix: str) -> None:
    inner = ids.new_id()
    assert ids.bare(prefix + inner) == inner


def test_ids_made_in_a_row_are_in_order_from_one_millisecond_to_the_next() -> None:
    stamps = [ids.millis_of(ids.new_id()) for _ in range(1000)]
    assert all(a <= b for a, b in itertools.pairwise(stamps))
