"""Customers of a first champion v0: what they ask and how they like it, as rows at times of the test's clock."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest
from answers import answer, says, thumb
from conftest import StoppedClock
from registry_story import Story

from core.ids import new_id
from core.ledger import Ledger
from core.schema import scores
from core.store import Store, insert_new
from core.types import Feedback, Interaction, Subject, Version
from core.writer import Kept

V0 = Version("v0")


@dataclass
class Traffic:
    """Everybody asks v0 and gets eight tokens unless told otherwise. `settle` waits until all is in the ledger."""

    store: Store
    ledger: Ledger
    clock: StoppedClock
    story: Story
    waiting: list[Future[Kept]] = field(default_factory=list)

    def ask(self, who: str = "ann", text: str = "", **changes: object) -> Interaction:
        """A call of now; without a text, a question that nobody asked before."""
        row = answer(
            id=new_id(self.clock() // 1000),
            created_at=self.clock(),
            subject=Subject(who),
            messages=says(text or f"question {new_id()}"),
            assigned=V0,
            served=V0,
            completion_tokens=8,
        )
        row = replace(row, **changes)  # type: ignore[arg-type]
        self.waiting.append(self.ledger.record(row))
        self.clock.advance(0.01)
        return row

    def rate(self, row: Interaction, liked: bool, **changes: object) -> Feedback:
        judgement = replace(thumb(row, created_at=self.clock(), value=float(liked)), **changes)  # type: ignore[arg-type]
        self.waiting.append(self.ledger.rate(judgement, "d"))
        self.clock.advance(0.01)
        return judgement

    def rated(self, liked: Iterable[bool], prefix: str = "s") -> None:
        """One new subject each, who asks once and says so."""
        for number, good in enumerate(liked):
            self.rate(self.ask(f"{prefix}{number}"), good)
        self.settle()

    def score(self, row: Interaction, value: float, name: str = "logprob") -> None:
        """As if the engine had been asked."""
        made = {"id": f"{row.id}-{name}", "created_at": self.clock(), "interaction": row.id, "version": row.served}
        with self.store.write() as conn:
            insert_new(conn, scores, [{**made, "source": "engine", "name": name, "value": value}])

    def settle(self) -> None:
        for future in self.waiting:
            assert future.result(10) is Kept.COMMITTED
        self.waiting.clear()


@pytest.fixture
def traffic(store: Store, clock: StoppedClock, request: pytest.FixtureRequest) -> Traffic:
    from core.secret import Secret

    writer = request.getfixturevalue("start_writer")(store)
    secret: Secret = request.getfixturevalue("secret")
    story = Story(store)
    return Traffic(store, Ledger(store, writer, secret, clock), clock, story)
