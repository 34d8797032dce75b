"""The ledger: every answer and every judgement of one, durable before anybody is told so, and read back whole.

Writing returns a future at once (see core.writer); reading blocks and is for threads. Knows no HTTP.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import select

from core import conversation, ids, interactions, judgements, scores
from core.clock import Clock, now
from core.errors import NotStored
from core.interactions import InteractionFilter as InteractionFilter
from core.page import Page
from core.recent import Recent
from core.schema import interactions as interaction_table
from core.secret import Secret
from core.store import Store
from core.types import Arm, Feedback, Interaction, JsonObject, Score, Subject, Version
from core.writer import Kept, Row, Unit, Writer

KNOWN_NODES = 50_000
KNOWN_OWNERS = 50_000
KNOWN_FEEDBACK = 2_000


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose answer it is: what feedback needs to know of an interaction."""

    key_id: str
    subject: Subject
    arm: Arm
    stored: bool


class Ledger:
    """One process's way to the ledger. It remembers what it wrote lately, so that rows in the spool can be rated."""

    def __init__(self, store: Store, writer: Writer, secret: Secret, clock: Clock = now) -> None:
        self._store = store
        self._writer = writer
        self._secret = secret
        self._clock = clock
        self._nodes: Recent[str, bool] = Recent(KNOWN_NODES)
        self._owners: Recent[str, Owner] = Recent(KNOWN_OWNERS)
        self._feedback: Recent[str, tuple[Feedback, str]] = Recent(KNOWN_FEEDBACK)

    def record(self, interaction: Interaction) -> Future[Kept]:
        """Keep an interaction and those of its messages that are new. Fails with NotStored."""
        known = self._nodes
        try:
            unit, fresh = self._unit(interaction, known)
        except TypeError as error:
            return _failed(f"a message is not JSON: {error}")
        self._owners.put(interaction.id, _owner(interaction))
        future = self._writer.submit(unit, hold=True)
        future.add_done_callback(lambda done: self._recorded(done, interaction.id, fresh, known))
        return future

    def rate(self, feedback: Feedback, request_digest: str) -> Future[Kept]:
        """Keep a judgement; one whose id is there already changes nothing. Fails with NotStored."""
        if self._feedback.get(feedback.id) is None:
            self._feedback.put(feedback.id, (feedback, request_digest))
        future = self._writer.submit([Row("feedback", judgements.values(feedback, request_digest))])
        future.add_done_callback(lambda done: self._rated(done, feedback.id))
        return future

    def retract(self, feedback_id: str, key_id: str) -> Future[Kept]:
        """Take a judgement back; once more changes nothing. Fails with NotStored."""
        self._feedback.drop(feedback_id)
        values = {"feedback": feedback_id, "created_at": self._clock(), "key_id": key_id}
        return self._writer.submit([Row("retractions", values)])

    def forget_messages(self) -> None:
        """Somebody was erased: from here on messages that were known are sent to the database again."""
        # A new memory, so that a commit from before cannot enter what it wrote into this one.
        self._nodes = Recent(KNOWN_NODES)

    def interaction(self, interaction_id: str) -> Interaction | None:
        """One interaction with messages and reply. Raises Unavailable."""
        with self._store.read() as conn:
            return interactions.find(conn, interaction_id)

    def interactions(self, wanted: InteractionFilter, before: str | None = None, limit: int = 50) -> Page[Interaction]:
        """Interactions, newest first; `before` is the `next` of the page before. Raises Unavailable."""
        with self._store.read() as conn:
            return interactions.page(conn, wanted, before, limit)

    def stands(self, interaction_id: str) -> bool:
        """Whether an interaction is in the database and was not erased. Raises Unavailable."""
        with self._store.read() as conn:
            return interactions.stands(conn, interaction_id)

    def served(self, reply: str) -> Version | None:
        """The version that gave the answer in this node, if one of ours did. Raises Unavailable."""
        with self._store.read() as conn:
            return interactions.served(conn, reply)

    def owner(self, interaction_id: str) -> Owner | None:
        """Whose answer it is; None for an unknown one. Raises Unavailable when neither memory nor database can tell."""
        if known := self._owners.get(interaction_id):
            return known
        if not interaction_id.isalnum():
            return None
        columns = [interaction_table.c[name] for name in ("key_id", "subject", "arm", "stored")]
        with self._store.read() as conn:
            row = conn.execute(select(*columns).where(interaction_table.c.id == interaction_id)).one_or_none()
        if row is None:
            return None
        owner = Owner(row.key_id, Subject(row.subject), Arm(row.arm), row.stored)
        self._owners.put(interaction_id, owner)
        return owner

    def feedback(self, interaction_id: str, *, actor: str | None = None, history: bool = False) -> Sequence[Feedback]:
        """What was said of an answer, oldest first, by one actor or by all; with `history` also what no longer stands.

        Raises Unavailable.
        """
        with self._store.read() as conn:
            found = judgements.of_interaction(conn, interaction_id)
        return [f for f in found if actor in (None, f.actor) and (history or judgements.stands(f))]

    def scores(self, interaction_id: str) -> Sequence[Score]:
        """What was measured of an answer, oldest first."""
        with self._store.read() as conn:
            return scores.of_interaction(conn, interaction_id)

    def feedback_by_id(self, feedback_id: str) -> tuple[Feedback, str] | None:
        """A judgement and the digest of the request that made it. Raises Unavailable."""
        if known := self._feedback.get(feedback_id):
            return known
        with self._store.read() as conn:
            return judgements.find(conn, feedback_id)

    def _unit(self, interaction: Interaction, known: Recent[str, bool]) -> tuple[Unit, Sequence[str]]:
        if not interaction.stored:
            return [Row("interactions", interactions.values(interaction, None, None))], ()
        subject, messages = interaction.subject, interaction.messages
        branch = list(conversation.grow(self._secret, subject, None, messages))
        prompt = branch[-1][0] if branch else None
        answer = [interaction.reply] if interaction.reply is not None else []
        branch += conversation.grow(self._secret, subject, prompt, answer)
        reply = branch[-1][0] if answer else None
        fresh = [node for node in branch if not known.get(node[0])]
        rows = [Row("nodes", _node(interaction, *node)) for node in fresh]
        rows.append(Row("interactions", interactions.values(interaction, prompt, reply)))
        return rows, [node[0] for node in fresh]

    def _recorded(
        self, done: Future[Kept], interaction_id: str, fresh: Sequence[str], known: Recent[str, bool]
    ) -> None:
        if done.exception():
            self._owners.drop(interaction_id)
        elif done.result() is Kept.COMMITTED:
            for node in fresh:
                known.put(node, True)

    def _rated(self, done: Future[Kept], feedback_id: str) -> None:
        # What is in the database is read there, which also tells which of two requests was the first.
        if done.exception() or done.result() is Kept.COMMITTED:
            self._feedback.drop(feedback_id)


def feedback_id(secret: Secret, key_id: str, idempotency_key: str) -> str:
    """The id of the one judgement that this key may make under this Idempotency-Key, wherever the request arrives."""
    digest = secret.digest("feedback-id", f"{len(key_id)}:{key_id}:{idempotency_key}")
    return f"fb_{ids.encode(int(digest, 16) >> 126)}"


def _node(interaction: Interaction, node: str, parent: str | None, message: JsonObject) -> dict[str, object]:
    return {
        "id": node,
        "subject": interaction.subject,
        "parent": parent,
        "created_at": interaction.created_at,
        "body": message,
        "erased_at": None,
    }


def _owner(interaction: Interaction) -> Owner:
    return Owner(interaction.key_id, interaction.subject, interaction.arm, interaction.stored)


def _failed(cause: str) -> Future[Kept]:
    future: Future[Kept] = Future()
    future.set_exception(NotStored(f"This could not be stored ({cause})."))
    return future
