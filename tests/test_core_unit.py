"""Lines: what a unit says survives the way to the disk and back, and damage never passes for data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.unit import Row, decode, encode

INTEGERS = st.integers(-(2**63), 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, JSON, max_size=5)), max_size=4))
def test_every_json_value_survives(rows: list[tuple[str, dict[str, object]]]) -> None:
    unit = [Row(table, values) for table, values in rows]
    line = encode(unit)
    assert decode(line) == unit
    assert line.count(b"\n") == 1


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    line = bytearray(encode([Row("nodes", {"id": "a", "body": {"role": "user", "content": "hello\nthere"}})]))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="checksum"):
        decode(bytes(line))


@pytest.mark.parametrize("value", ["\ud800", 2**64, object(), {1: 2}])
def test_what_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode([Row("nodes", {"id": value})])
