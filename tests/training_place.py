"""A place to train in: a small base with its champion, a ledger with judgements, and workers on both.

Command: `python training_place.py DATA BEHAVIOUR`: a worker in a process of its own, with a stand-in for the trainer.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from answers import answer, thumb
from lessons import sentence, subject
from sqlalchemy import select

from core import config, log
from core.approval import Consent
from core.clock import SECOND, now
from core.config import Settings
from core.ledger import Ledger
from core.lifecycle import Mover, Stage
from core.registry import Registry
from core.runs import Runs
from core.schema import models
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.types import Feedback, Interaction, Model, Run, Version
from core.writer import Writer
from serving import setup
from training.child import TRAINER
from training.worker import Worker

STAND_IN = Path(__file__).parent / "stand_in_trainer.py"
TRAINING = {"may_train": "all", "min_rows": 20, "min_topics": 3, "look_every": 0.1, "memory_gib": 0.01}


def stand_in(behaviour: str = "good") -> Sequence[str]:
    """The command of a trainer that only pretends."""
    return (sys.executable, str(STAND_IN), behaviour)


def words(number: int, seed: int = 1, at: int | None = None) -> list[tuple[Interaction, Feedback]]:
    """Corrections by many people, no two about the same question."""
    rng = Random(seed)
    made = []
    for each in range(number):
        call = answer(sentence(rng), reply={"role": "assistant", "content": "I do not know."})
        call = replace(call, subject=subject(f"{seed}-{each}"), created_at=at or now())
        made.append((call, thumb(call, value=0.0, correction=sentence(rng, 6))))
    return made


@dataclass(frozen=True)
class Place:
    """A data folder with a base and a champion, and its ledger."""

    settings: Settings
    store: Store
    secret: Secret

    @classmethod
    def open(cls, data: Path, url: str, base: Path | str, **training: object) -> "Place":
        """An install on `data`, prepared as a first start does."""
        values = {"data": data, "engine": {"model": str(base)}, "ledger": {"url": url}}
        settings = config.parse({**values, "training": TRAINING | training})
        store = Store.open(url)
        place = cls(settings, store, Secret.load(data))
        setup.prepare(settings, store)
        return place

    @property
    def runs(self) -> Runs:
        return Runs(self.store)

    @property
    def registry(self) -> Registry:
        return Registry(self.store)

    def rate(self, given: Sequence[tuple[Interaction, Feedback]]) -> None:
        """Put judgements into the ledger."""
        writer = Writer(self.store, Spool.open(self.settings.data / "spool", 2**20), self.settings.ledger)
        writer.start()
        ledger = Ledger(self.store, writer, self.secret)
        for call, _ in given:
            ledger.record(call)
        for done in [ledger.rate(word, "digest") for _, word in given]:
            done.result(10)
        writer.close()

    def ask(self, method: str = "auto", **recipe: object) -> Run:
        return self.runs.request(method=method, recipe=recipe, reason="test", requester="me")  # type: ignore[arg-type]

    def worker(self, behaviour: str | None = "good", lease: float = 15) -> Worker:
        command = TRAINER if behaviour is None else stand_in(behaviour)
        return Worker(self.settings, self.store, self.secret, command, lease=round(lease * SECOND))

    def train(self, behaviour: str | None = "good", method: str = "auto", **recipe: object) -> Run:
        """Ask for a run and carry it out; what became of it."""
        run = self.ask(method, **recipe)
        self.worker(behaviour).step()
        return self.runs.find(run.id)

    def crown(self, version: Version | None) -> None:
        """Make a candidate the champion, whatever it takes."""
        assert version is not None
        for stage, evidence in ((Stage.SHADOW, None), (Stage.AWAITING_APPROVAL, {"shown": True})):
            by = {"mover": Mover.MONITORING, "actor": "system:gate", "reason": "good"}
            self.registry.advance(version, stage, **by, evidence=evidence)  # type: ignore[arg-type]
        frozen = self.registry.evidence(version)
        assert frozen is not None
        self.registry.promote(version, Consent("someone", "agreed", frozen.digest, four_eyes=False))

    def candidates(self) -> list[Model]:
        """The versions that a run made."""
        with self.store.read() as conn:
            names = list(conn.scalars(select(models.c.id).where(models.c.run.is_not(None))))
        return [self.registry.model(Version(name)) for name in names]

    def folder(self, run: Run) -> Path:
        return self.settings.data / "runs" / run.id

    def artifacts(self) -> set[str]:
        return {path.name for path in (self.settings.data / "artifacts").iterdir()}


def main(data: Path, url: str, base: str, behaviour: str) -> None:
    """A worker until it is killed, or ended by SIGTERM."""
    log.setup("training")
    place = Place.open(data, url, base)
    worker = place.worker(behaviour, lease=2)
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stop())
    worker.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
