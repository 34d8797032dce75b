from training.batches import Mixture, plan
from training.rendering import Rendered


def test_batches_take_every_row_once_before_any_twice_and_pad_little() -> None:
    lengths = [(10 + n % 37,) for n in range(64)]
    found = plan(lengths, rows=8, parts=2, steps=24, seed=1)
    for start in range(0, 192, 64):
        assert sorted(found.rows[start : start + 64]) == list(range(64))
    assert {len(batch) for batch in found.batches} == {4}
    assert found.pad_share < 0.1
    assert sum(found.tokens) == 3 * sum(length for (length,) in lengths)
    assert found == plan(lengths, rows=8, parts=2, steps=24, seed=1)
    assert found.batches != plan(lengths, rows=8, parts=2, steps=24, seed=2).batches


def test_fewer_rows_than_a_batch_repeat_within_it() -> None:
    found = plan([Rendered([1], ([2],)).lengths] * 3, rows=8, parts=1, steps=2, seed=1)
    assert [len(batch) for batch in found.batches] == [8, 8]
    assert set(found.rows) == {0, 1, 2}


def test_repeated_answers_get_their_share_and_none_comes_twice_before_all_came_once() -> None:
    repeated = [False] * 20 + [True] * 400
    found = plan([(8,)] * 420, rows=10, parts=1, steps=32, seed=1, mixture=Mixture(repeated, 0.5))
    old = [row for row in found.rows if repeated[row]]
    assert len(old) == 160 == len(set(old))
    assert {found.rows.count(row) for row in range(20)} == {8}


def test_few_repeated_answers_are_not_met_more_often_than_new_lessons() -> None:
    repeated = [False] * 90 + [True] * 10
    found = plan([(8,)] * 100, rows=10, parts=1, steps=50, seed=1, mixture=Mixture(repeated, 0.5))
    assert {found.rows.count(row) for row in range(100)} == {5}


def test_a_mixture_of_one_kind_is_no_mixture() -> None:
    for kind in (False, True):
        found = plan([(8,)] * 8, rows=4, parts=1, steps=4, seed=1, mixture=Mixture([kind] * 8, 0.5))
        assert sorted(found.rows) == sorted([*range(8)] * 2)
