"""What a gate said last of each version and why, published in `states` as gate/VERSION.

    {"stage", "ruling", "says", "reasons": [{"control", "ruling", "says"}], "since", "deadline", "held_since", "at",
     "earlier": [the last ruling at each stay before, oldest first]}

`deadline` is when a hold ends, `held_since` since when nothing but evidence is missing; times are microseconds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from core import states
from core.store import Store
from core.types import Json, JsonObject, Model, Version
from monitoring.gates.evidence import plain
from monitoring.gates.ruling import Decision

GATE = "gate/"
KEPT = 12
"""Stays at stages that are remembered of a version."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The time of a version at one stage."""

    since: int
    deadline: int | None = None
    held_since: int | None = None


class Rulings:
    """Reads and writes the last ruling on each version."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, model: Model, decision: Decision, stay: Stay, now: int) -> None:
        """Publish what was decided; the same decision again changes nothing."""
        ruled: dict[str, Json] = {
            "stage": model.stage,
            "ruling": decision.ruling,
            "says": decision.says,
            "reasons": [asdict(reason) for reason in decision.reasons],
            **asdict(stay),
        }
        wanted = plain(ruled)
        last = self._last(model.id)
        kept = last.get("earlier", ())
        earlier = list(kept) if isinstance(kept, list) else []
        if all(last.get(name) == value for name, value in wanted.items()):
            return
        if last and (last["stage"], last["since"]) != (wanted["stage"], wanted["since"]):
            earlier.append({name: value for name, value in last.items() if name != "earlier"})
        with self._store.write() as conn:
            states.put(conn, GATE + model.id, {**wanted, "at": now, "earlier": earlier[-KEPT:]}, now)

    def all(self, version: Version) -> list[JsonObject]:
        """The last ruling at each stay of a version, oldest first."""
        last = self._last(version)
        kept = last.get("earlier", ())
        earlier = [ruled for ruled in kept if isinstance(ruled, Mapping)] if isinstance(kept, list) else []
        return [*earlier, {name: value for name, value in last.items() if name != "earlier"}] if last else []

    def _last(self, version: Version) -> JsonObject:
        with self._store.read() as conn:
            found = states.read(conn, GATE + version)
        return found.body if found else {}
