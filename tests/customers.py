"""Simulated customers: rows as the gateway would write them, by the plan of the moment, with a will of their own.

A version is a table of answers by question, how long it takes and how often it fails. Each customer asks some
questions, is answered by whom the router says, and gives a thumb.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from registry_story import Story
from sqlalchemy import insert

from core import conversation, interactions, judgements
from core.decoys import APPEAL, COMMON, UNKNOWING
from core.ids import encode
from core.schema import feedback, nodes
from core.schema import interactions as table
from core.secret import Secret
from core.settings import Settings
from core.store import Store, insert_new
from core.types import (
    Arm,
    Assignment,
    Feedback,
    Finish,
    Interaction,
    Json,
    JsonObject,
    Model,
    Plan,
    Role,
    Subject,
    Version,
)
from monitoring.gates.conductor import Conductor
from monitoring.gates.ruling import Reason, Ruling
from serving.router import assign
from serving.shadow import is_sampled

SECRET = Secret.of(b"customers" * 3 + b"12345")
DUNNO = "I do not know that."
OLD = {f"old question {n}": f"Old answer {n}." for n in range(5)}
NEW = {f"new question {n}": f"New answer {n}." for n in range(5)}
FINE = Reason("weights", Ruling.ADVANCE, "as registered")


@dataclass(frozen=True)
class Behaviour:
    """How a version answers."""

    answers: Mapping[str, str]
    tokens: int = 10
    micros: int = 100_000
    fails: float = 0.0
    wrong: float = 0.0


CHAMPION = Behaviour(OLD)
BETTER = Behaviour(OLD | NEW)
WORSE = Behaviour(dict.fromkeys(OLD, DUNNO) | NEW)


def compared(better: int, worse: int, equal: int, same: bool = False) -> JsonObject:
    """One set of an evaluation."""
    differences = [1.0] * better + [-1.0] * worse + [0.0] * equal
    figures = {"n": len(differences), "exact": 0.5, "f1": 0.5, "rouge_l": 0.5, "bits_per_byte": 1.0, "characters": 12.0}
    pairs: list[Json] = [[f"unit-{n}", difference, same] for n, difference in enumerate(differences)]
    # Constant answers are right nowhere, the champion's sometimes.
    decoys = {name: [-float(n % 4 == 0) for n in range(len(pairs))] for name in (COMMON, UNKNOWING, APPEAL)}
    return {"pairs": pairs, "decoys": decoys, "champion": figures, "candidate": figures}


def evaluation(**changes: object) -> JsonObject:
    """What a good run says of its candidate."""
    sets = {"held_out": compared(40, 2, 40), "old_skills": compared(1, 1, 300)}
    return {"evaluation": {**sets, "length_ratio": 1.1, "leaks": 0, "seconds": 3.0, **changes}}  # type: ignore[dict-item]


@dataclass
class World:
    """A registry, customers and a conductor under one clock."""

    store: Store
    settings: JsonObject = field(default_factory=dict)
    weights: Reason = FINE
    story: Story = field(init=False)
    behaviours: dict[str, Behaviour] = field(default_factory=lambda: {"v0": CHAMPION})
    rng: Random = field(default_factory=lambda: Random(7))
    born: int = 0

    def __post_init__(self) -> None:
        self.story = Story(self.store)
        self.share = Settings.model_validate(self.settings).shadow.share
        self.conductor = self.conduct()

    def conduct(self, store: Store | None = None, **settings: object) -> Conductor:
        """A conductor that knows nothing yet, under these settings."""
        found = Settings.model_validate({**self.settings, **settings})
        return Conductor(store or self.store, found, clock=lambda: self.story.time, weights=lambda _: self.weights)

    def wait(self, seconds: float) -> None:
        self.story.time += round(seconds * 1_000_000)

    def register(self, name: str, behaviour: Behaviour = BETTER, manifest: JsonObject | None = None) -> Model:
        """A candidate as a run hands it in."""
        self.wait(1)
        self.behaviours[name] = behaviour
        made = self.story.made(name, at=self.story.time, parent="v0", manifest=manifest or evaluation())
        return self.story.registry.register(made, "run_1")

    def newcomers(self, number: int) -> Sequence[Subject]:
        """Customers never seen before."""
        self.born += number
        return [Subject(f"{n:064d}") for n in range(self.born - number, self.born)]

    def newcomer(self) -> Subject:
        """A customer never seen before."""
        return self.newcomers(1)[0]

    def traffic(
        self, customers: int | Sequence[Subject], *, turns: int = 2, rate: float = 1.0, questions: Sequence[str] = ()
    ) -> Sequence[Interaction]:
        """Each customer asks `turns` questions and rates each answer with probability `rate`."""
        who = self.newcomers(customers) if isinstance(customers, int) else customers
        asked, plan = questions or [*OLD, *NEW], self.story.plan
        calls = [self._call(plan, subject, self.rng.choice(asked)) for subject in who for _ in range(turns)]
        mirrored = [copy for call in calls if (copy := self.mirror(plan, call)) is not None]
        rated = [self.thumb(call) for call in calls if call.finish is not Finish.ERROR and self.rng.random() < rate]
        self.keep([*calls, *mirrored], rated)
        return calls

    def call(self, subject: Subject, asked: str, **changes: object) -> Interaction:
        """One answered call, not kept yet."""
        return replace(self._call(self.story.plan, subject, asked), **changes)  # type: ignore[arg-type]

    def _call(self, plan: Plan, subject: Subject, asked: str) -> Interaction:
        self.wait(0.01)
        drawn = assign(plan, subject)
        behaviour = self.behaviours[drawn.version]
        # The champion answers in the place of a challenger that fails.
        stands_in = drawn.reserve is not None and self.rng.random() < behaviour.fails
        served = drawn.reserve if stands_in and drawn.reserve else drawn.version
        return self._answer(subject, asked, drawn, served)

    def _answer(self, subject: Subject, asked: str, drawn: Assignment, served: Version) -> Interaction:
        behaviour = self.behaviours[served]
        wrong = self.rng.random() < behaviour.wrong
        reply = DUNNO if wrong else behaviour.answers.get(asked, DUNNO)
        return Interaction(
            id=self._id(),
            created_at=self.story.time,
            kind="chat",
            key_id="key_user",
            subject=subject,
            arm=drawn.arm,
            assigned=drawn.version,
            served=served,
            propensity=drawn.propensity,
            revision=drawn.revision,
            finish=Finish.STOP,
            config_digest="c" * 64,
            messages=[{"role": "user", "content": asked}],
            reply={"role": "assistant", "content": reply},
            experiment=drawn.experiment,
            completion_tokens=behaviour.tokens,
            duration=round(behaviour.micros * (1 + 0.2 * self.rng.random())),
        )

    def mirror(self, plan: Plan, call: Interaction) -> Interaction | None:
        """The shadow's answer to a call, if there is one."""
        if plan.shadow is None or plan.split is not None or not is_sampled(call, plan.shadow, self.share):
            return None
        return self.shadowed(call, plan.shadow)

    def shadowed(self, call: Interaction, version: Version, **changes: object) -> Interaction:
        """What a version in shadow made of a call."""
        behaviour = self.behaviours[version]
        failed = self.rng.random() < behaviour.fails
        text = behaviour.answers.get(str(call.messages[-1]["content"]), DUNNO)
        if self.rng.random() < behaviour.wrong:
            text = DUNNO
        copy = replace(
            call,
            id=self._id(),
            arm=Arm.SHADOW,
            parent=call.id,
            assigned=version,
            served=version,
            finish=Finish.ERROR if failed else Finish.STOP,
            reply=None if failed else {"role": "assistant", "content": text},
        )
        return replace(copy, **changes)  # type: ignore[arg-type]

    def thumb(self, call: Interaction, **changes: object) -> Feedback:
        """The customer's word: right answers are liked."""
        right = BETTER.answers.get(str(call.messages[-1]["content"]))
        said = call.reply["content"] if call.reply else None
        self.wait(0.001)
        word = Feedback(
            id=f"fb_{self._id()}",
            created_at=self.story.time,
            interaction=call.id,
            name="thumbs",
            value=float(said == right),
            label=None,
            actor=call.subject,
            key_id=call.key_id,
            role=Role.USER,
        )
        return replace(word, **changes)  # type: ignore[arg-type]

    def keep(self, calls: Sequence[Interaction], words: Sequence[Feedback] = ()) -> None:
        """Write rows as the ledger does, all at once."""
        tree: dict[str, dict[str, object]] = {}
        rows = []
        for call in calls:
            said = [*call.messages, *([call.reply] if call.reply else [])]
            branch = list(conversation.grow(SECRET, call.subject, None, said)) if call.stored else []
            for node, parent, body in branch:
                tree[node] = {"id": node, "subject": call.subject, "parent": parent, "created_at": 1, "body": body}
            leaf = branch[len(call.messages) - 1][0] if branch else None
            rows.append(interactions.values(call, leaf, branch[-1][0] if branch and call.reply else None))
        with self.store.write() as conn:
            insert_new(conn, nodes, [{**node, "erased_at": None} for node in tree.values()])
            if rows:
                conn.execute(insert(table), rows)
            if words:
                conn.execute(insert(feedback), [judgements.values(word, "d" * 64) for word in words])

    def _id(self) -> str:
        self.wait(0.000001)
        return encode((self.story.time // 1000 << 80) | self.rng.getrandbits(80))
