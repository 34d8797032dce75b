"""What the mirror has shown so far: the calls that a version in shadow should have answered, and how it did.

Which calls should have been mirrored follows from the ledger alone, so that what was dropped is known; what has not
come back yet counts as dropped until it does. How answers compare is in comparisons.py, what a judge said of them in
verdicts.py. Texts are remembered as digests only. Judges nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select

from core import interactions as calls
from core.clock import SECOND
from core.interactions import not_measuring
from core.recent import Recent
from core.schema import feedback, scores
from core.schema import interactions as table
from core.store import Store
from core.twins import OVER, PREFERENCE
from core.types import Arm, Finish, JsonObject, Role, Subject
from monitoring.experiments.exposures import LOOK_BACK, id_from
from monitoring.feedback.words import standing
from monitoring.gates import gate
from monitoring.gates.ruling import Reason
from monitoring.history import Window
from monitoring.shadow import comparisons, verdicts
from monitoring.shadow.comparisons import Mirrored, Texts, Word
from monitoring.shadow.pairs import Pair, Paired, compare
from monitoring.shadow.questions import PAGE, Skills, answer, question, text_digest, text_of
from monitoring.terms import Terms
from serving.shadow import FINISHES, is_drawn

LIKELIHOOD = "reference_likelihood"
"""The score of a mirrored call under one version: the mean probability that it gives a token of the reference."""
KNOWN = 50_000


class Mirror:
    """Reads the evidence of a shadow; keeps what cannot change any more, so that a look costs little."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._texts: Recent[str, Texts] = Recent(KNOWN)
        self._window: Window | None = None
        self._expected: set[str] = set()
        self._seen = 0

    def read(self, window: Window, skills: Skills, controls: Sequence[Reason] = ()) -> gate.Shadow:
        """Everything known now."""
        with self._store.read() as conn:
            self._expect(conn, window)
            said = verdicts.read(conn, window)
            rows = [row for row in conn.execute(_rows(window)) if row.parent in self._expected]
            words = _words(conn, window, self._terms)
            preferences = _preferences(conn, window)
            likelihoods = _likelihoods(conn, window)
        # Only the first answer to a call counts, should it have been mirrored twice.
        rows = list({row.parent: row for row in reversed(rows)}.values())
        answered = [row for row in rows if row.finish not in (Finish.ERROR, Finish.CANCELLED)]
        failed = sum(row.finish == Finish.ERROR for row in rows)
        pairs = list(self._pairs(answered))
        preferred = list(comparisons.preferred(pairs, preferences))
        return gate.Shadow(
            answered=len(answered),
            failed=failed,
            dropped=len(self._expected) - len(answered) - failed,
            same=sum(pair.texts.same for pair in pairs),
            old_skills=self._compare(comparisons.old_skills(pairs, words, skills)),
            references=self._compare(comparisons.references(pairs, words)),
            preferences=self._compare(Pair(pair.subject, word, pair.texts.same) for pair, word in preferred),
            likelihood=self._compare(comparisons.likely(pairs, likelihoods, window.champion, window.version)),
            controls=controls,
            decoys=comparisons.decoys(pairs, words, skills, self._compare),
            judge=verdicts.findings(said, pairs, preferred, self._terms.gate),
        )

    def _compare(self, pairs: Iterable[Pair]) -> Paired:
        return compare(pairs, self._terms.gate.alpha)

    def _expect(self, conn: Connection, window: Window) -> None:
        """Add the calls since the last look that belong to the sample."""
        if window != self._window:
            self._window, self._expected, self._seen = window, set(), window.since
        since = max(window.since, self._seen - LOOK_BACK)
        found = conn.execute(select(table.c.id, table.c.created_at).where(*_sampled(window, since))).all()
        share = self._terms.shadow_share
        self._expected |= {row.id for row in found if is_drawn(row.id, window.version, share)}
        self._seen = max([self._seen, *(row.created_at for row in found)])

    def _pairs(self, answered: Sequence[Row[tuple[object, ...]]]) -> Iterator[Mirrored]:
        unknown = [row for row in answered if self._texts.get(row.id) is None]
        for start in range(0, len(unknown), PAGE):
            self._learn(unknown[start : start + PAGE])
        for row in answered:
            if (texts := self._texts.get(row.id)) is not None:
                yield Mirrored(row.id, row.parent, Subject(row.subject), texts)

    def _learn(self, rows: Sequence[Row[tuple[object, ...]]]) -> None:
        with self._store.read() as conn:
            found = calls.find_all(conn, {identity for row in rows for identity in (row.id, row.parent)})
        for row in rows:
            mirrored, original = found[row.id], found[row.parent]
            texts = Texts(
                asked=question(original.messages),
                champion=answer(original.reply),
                candidate=answer(mirrored.reply),
                same=mirrored.reply is not None and mirrored.reply == original.reply,
                longer=_longer(mirrored.reply, original.reply),
            )
            self._texts.put(row.id, texts)


def _longer(candidate: JsonObject | None, champion: JsonObject | None) -> float | None:
    new, old = (text_of(reply.get("content")) if reply else None for reply in (candidate, champion))
    return None if new is None or old is None else log((len(new) + 1) / (len(old) + 1))


def _sampled(window: Window, since: int) -> Iterator[ColumnElement[bool]]:
    """Calls that the champion answered, as serving/shadow.py picks them; the hold-back's are no comparison with it."""
    yield table.c.arm == Arm.CHAMPION
    yield table.c.id >= id_from(since)
    yield table.c.served == window.champion
    yield table.c.experiment.is_(None)
    yield table.c.kind == "chat"
    yield table.c.stored.is_(True)
    yield table.c.finish.in_(FINISHES)
    yield not_measuring()


def mine(window: Window) -> ColumnElement[bool]:
    """The rows of the version's own answers."""
    return and_(
        table.c.arm == Arm.SHADOW, table.c.assigned == window.version, table.c.id >= id_from(window.since - SECOND)
    )


def _rows(window: Window) -> Select[tuple[object, ...]]:
    columns = [table.c[name] for name in ("id", "parent", "subject", "finish")]
    return select(*columns).where(mine(window)).order_by(table.c.id)


def _words(conn: Connection, window: Window, terms: Terms) -> Mapping[str, Word]:
    parents = select(table.c.parent).where(mine(window))
    known = or_(feedback.c.name == terms.measure.name, feedback.c.corrected.is_(True))
    words: dict[str, Word] = {}
    for row in conn.execute(standing(parents, known)):
        word = words.setdefault(row.interaction, Word([], set()))
        if row.name == terms.measure.name and row.value is not None:
            word.values.append(terms.measure.of(row.value))
        if row.body and isinstance(row.body.get("correction"), str):
            word.corrections.add(text_digest(row.body["correction"]))
    return words


def _preferences(conn: Connection, window: Window) -> Sequence[tuple[str, str, float]]:
    """Reviewers' words on pairs: which answer was preferred to which, and how clearly, -1..1."""
    sides = select(table.c.id).where(mine(window)).union(select(table.c.parent).where(mine(window))).subquery()
    people = feedback.c.role.in_([Role.REVIEWER, Role.OPS])
    rows = conn.execute(standing(select(sides.c[0]), feedback.c.name == PREFERENCE, people))
    return [
        (row.interaction, row.body["tags"][OVER], 2 * row.value - 1)
        for row in rows
        if row.value is not None and row.body and isinstance(row.body.get("tags", {}).get(OVER), str)
    ]


def _likelihoods(conn: Connection, window: Window) -> Mapping[tuple[str, str], float]:
    """By call and version, as far as they were measured."""
    parents = select(table.c.parent).where(mine(window))
    wanted = scores.c.interaction.in_(parents), scores.c.name == LIKELIHOOD
    rows = conn.execute(select(scores.c.interaction, scores.c.version, scores.c.value).where(*wanted))
    return {(row.interaction, row.version): row.value for row in rows}
