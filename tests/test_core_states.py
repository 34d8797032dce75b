"""Small documents under a name."""

from core import states
from core.store import Store
from core.types import JsonObject


def put(store: Store, name: str, body: JsonObject, at: int = 1) -> None:
    with store.write() as conn:
        states.put(conn, name, body, at)


def test_the_last_write_wins(store: Store) -> None:
    put(store, "yield", {"rows": 1})
    put(store, "yield", {"rows": 2}, 5)
    with store.read() as conn:
        found = states.read(conn, "yield")
        assert states.read(conn, "nothing") is None
    assert found == states.State({"rows": 2}, 5)


def test_a_prefix_is_taken_literally(store: Store) -> None:
    for name in ("drift/length/v1", "drift/length/v2", "drift_length", "drift%"):
        put(store, name, {"of": name})
    with store.read() as conn:
        assert list(states.under(conn, "drift/")) == ["drift/length/v1", "drift/length/v2"]
        assert list(states.under(conn, "drift_")) == ["drift_length"]
        assert list(states.under(conn, "drift%")) == ["drift%"]
    with store.write() as conn:
        states.drop(conn, "drift_")
    with store.read() as conn:
        assert set(states.under(conn, "")) == {"drift/length/v1", "drift/length/v2", "drift%"}
