import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import exact, rouge_l, token_f1, words

TEXTS = st.text(max_size=40)
SHARED = [exact, token_f1, rouge_l]


@pytest.mark.parametrize("metric", SHARED)
@given(a=TEXTS, b=TEXTS)
def test_every_metric_is_a_share_and_does_not_care_which_text_is_the_reference(metric, a: str, b: str) -> None:  # type: ignore[no-untyped-def]
    assert 0 <= metric(a, b) <= 1
    assert metric(a, b) == metric(b, a)


@given(text=TEXTS)
def test_a_text_equals_itself_in_every_metric(text: str) -> None:
    assert [metric(text, text) for metric in SHARED] == [1, 1, 1]


@given(a=TEXTS, b=TEXTS)
def test_order_can_only_cost(a: str, b: str) -> None:
    assert rouge_l(a, b) <= token_f1(a, b)


def test_case_and_punctuation_do_not_count() -> None:
    assert exact("Open 9 am - 5 pm!", "open 9 am, 5 PM") == 1
    assert exact("open 9 am", "open 8 am") == 0


def test_f1_counts_each_word_as_often_as_both_have_it() -> None:
    assert token_f1("the the cat", "the cat sat down") == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_rouge_l_sees_the_order_that_f1_does_not() -> None:
    assert token_f1("c b a", "a b c") == 1
    assert rouge_l("c b a", "a b c") == pytest.approx(1 / 3)
    assert rouge_l("a x b y c", "a b c") == pytest.approx(2 * (3 / 5) * 1 / (3 / 5 + 1))


def test_scripts_without_spaces_are_compared_by_character() -> None:
    assert words("\u6771\u4eac\u306f 9\u6642") == ["\u6771", "\u4eac", "\u306f", "9", "\u6642"]


def test_silence_is_as_wrong_as_anything_else() -> None:
    assert [metric("", "an answer") for metric in SHARED] == [0, 0, 0]
