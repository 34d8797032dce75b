"""What a run may be made of: the judgements that the champion has not learned from, older ones to replay, the method.

Reads the ledger; what becomes of a judgement is for curation to decide.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from core import lineage, plan, runs, versions
from core.clock import HOUR
from core.config import Settings
from core.datasets import Datasets
from core.errors import NotFound
from core.runs import Runs
from core.secret import Secret
from core.store import Store
from core.types import Feedback, Run, RunState
from training.claims import said
from training.curation import Curated, Material, curate
from training.harvest import Harvest, Judged, harvest
from training.near_duplicates import NearIndex, sketch
from training.redaction import ALL_KINDS
from training.rows import FEEDBACK, KtoExample, Method, Reason
from training.rules import Rules, Shares, policy

AUTO = "auto"
PREFERENCE = (Method.SFT, Method.KTO, Method.DPO)
"""The order in which `auto` tries methods: the first one with enough rows is taken."""
OVERLAP = HOUR
"""Judgements may reach the ledger late, from a gateway's spool, with the time at which they were given."""
UNDECIDED = frozenset({Reason.UNKNOWN_ANSWER, Reason.QUORUM})
"""Reasons that later rows may lift."""
DAY = 24 * HOUR
OLDER = 2000
"""Earlier judgements that are looked through for rows to replay, at least."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which judgements are new to the champion: those since a time, but for the ones `seen` when it was made.

    `tried` is when the last run that gave a candidate began. Times are microseconds, 0: none.
    """

    since: int = 0
    tried: int = 0
    seen: frozenset[str] = frozenset()

    @property
    def start(self) -> int:
        """Where to begin to read."""
        return max(0, self.since - OVERLAP)


@dataclass(frozen=True, slots=True)
class Count:
    """What curation made of new judgements: rows, and questions with near-duplicates counted once."""

    method: Method
    rows: int
    topics: int


@dataclass(frozen=True, slots=True)
class Least:
    """What a run needs."""

    rows: int
    topics: int

    def met(self, count: Count) -> bool:
        return count.rows >= self.rows and count.topics >= self.topics

    def compare(self, count: Count) -> str:
        """How much there is of what is needed."""
        return f"{count.rows} of {self.rows} usable rows over {count.topics} of {self.topics} topics"


def rules(settings: Settings, secret: Secret) -> Rules:
    """The settings' rules of curation. Raises ConfigError."""
    chosen = settings.training
    return Rules(
        salt=secret.digest("split", ""),
        may_train=policy(chosen.may_train),
        names=settings.feedback.names,
        reviewer_weight=chosen.reviewer_weight,
        user_shares=Shares(chosen.user_share, chosen.user_rows),
        reviewer_shares=Shares(chosen.reviewer_share, chosen.reviewer_rows),
        max_characters=chosen.max_characters,
        redact=ALL_KINDS if chosen.redact else frozenset(),
        near_duplicate=chosen.near_duplicate,
        replay_share=chosen.replay_share,
        replay_rows=chosen.replay_rows,
        validation=chosen.validation,
        heldout=chosen.heldout,
    )


def window(store: Store, datasets: Datasets) -> Window:
    """What is new since the champion was trained; after a rollback that is more than since the last run."""
    done = next((run for run in Runs(store).ended(50) if run.state is RunState.DONE), None)
    with store.read() as conn:
        teachers = list(_teachers(conn))
        used = {use.feedback for run in teachers if run.dataset for use in lineage.of_dataset(conn, run.dataset)}
    seen = used.union(*(_left_out(datasets, run.dataset) for run in teachers if run.dataset))
    return Window(_began(teachers[0]) if teachers else 0, _began(done) if done else 0, frozenset(seen))


def gather(store: Store, new: Window, *, replay: bool = True) -> Material:
    """The judgements of a window and, for `replay`, the newest ones from before it. Raises Unavailable."""
    recent, known = _part(harvest(store, new.start), new.seen)
    if not replay:
        return Material(recent)
    before = _newest(store, new.start, max(OLDER, 2 * len(recent.judged)))
    return Material(recent, Harvest([*before.judged, *known.judged], [*before.barred, *known.barred]))


def prepare(material: Material, method: str, rules: Rules, least: Least) -> tuple[Curated, Count]:
    """The rows by a method, or for `auto` by the first one that has enough; else by the one that has most."""
    tried: list[tuple[Curated, Count]] = []
    for each in PREFERENCE if method == AUTO else (Method(method),):
        curated = curate(material, each, rules)
        tried.append((curated, count(curated, rules)))
        if least.met(tried[-1][1]) and not _one_sided(curated):
            return tried[-1]
    return max(tried, key=lambda attempt: attempt[1].rows)


def count(curated: Curated, rules: Rules) -> Count:
    """The rows that new judgements made, and over how many topics they are."""
    fresh = [row.example for row in curated.rows if row.provenance.source == FEEDBACK]
    index = NearIndex(rules.near_duplicate)
    topics = 0
    for each in fresh:
        question = sketch(message.content for message in said(each.messages))
        if not index.near(question):
            index.add(str(topics), question)
            topics += 1
    return Count(curated.method, len(fresh), topics)


def _teachers(conn: Connection) -> Iterator[Run]:
    """The runs behind the champion, the last one first, as far back as their time overlaps with the last one's."""
    current = plan.read(conn)
    version = current.champion if current else None
    start: int | None = None
    while version is not None:
        model = versions.find(conn, version)
        if model.run is not None:
            run = runs.find(conn, model.run)
            start = start or _began(run)
            if _began(run) < start - OVERLAP:
                return
            yield run
        version = model.parent


def _began(run: Run) -> int:
    return run.started_at or run.created_at


def _left_out(datasets: Datasets, digest: str) -> frozenset[str]:
    """The judgements that a dataset left out for good."""
    try:
        found = datasets.exclusions(digest)
    except NotFound:
        return frozenset()
    return frozenset(str(one["item"]) for one in found if one["reason"] not in UNDECIDED)


def _part(found: Harvest, seen: Collection[str]) -> tuple[Harvest, Harvest]:
    """What is new, and what is known."""
    new = Harvest(
        [judged for judged in found.judged if judged.feedback.id not in seen],
        [(feedback, reason) for feedback, reason in found.barred if feedback.id not in seen],
    )
    known = Harvest([judged for judged in found.judged if judged.feedback.id in seen])
    return new, known


def _newest(store: Store, until: int, enough: int) -> Harvest:
    """At least `enough` judgements before a time, if there are so many: spans ever longer, backwards."""
    judged: list[Judged] = []
    barred: list[tuple[Feedback, Reason]] = []
    start, span = until, DAY
    while start > 0 and len(judged) < enough:
        end, start, span = start, max(0, start - span), 2 * span
        found = harvest(store, start, end)
        judged += found.judged
        barred += found.barred
    return Harvest(judged, barred)


def _one_sided(curated: Curated) -> bool:
    labels = {row.example.label for row in curated.rows if isinstance(row.example, KtoExample)}
    return len(labels) == 1
