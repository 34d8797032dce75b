from training.batches import plan
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
