"""What training data is made of: rows of three kinds, who stands behind each, and why something became none.

Pure records. Knows no file, no database and no model.
"""

from dataclasses import dataclass
from enum import StrEnum

from core.types import JsonObject

FEEDBACK = "feedback"
"""The source of rows that people's recent judgements made."""
OLDER = "older"
"""The source of rows that are replayed from judgements of an earlier time."""


class Method(StrEnum):
    """What kind of rows a training method takes."""

    SFT = "sft"
    KTO = "kto"
    DPO = "dpo"


class Part(StrEnum):
    """What a row is for: to learn from, to tune by, or to judge the result with."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELDOUT = "heldout"


class Reason(StrEnum):
    """Why a judgement or a replayed row is not in the dataset."""

    UNKNOWN_ANSWER = "unknown_answer"
    SHADOW = "shadow"
    MEASUREMENT = "measurement"
    NOT_STORED = "not_stored"
    ERASED = "erased"
    RETRACTED = "retracted"
    SUPERSEDED = "superseded"
    NAME = "name"
    POLICY = "policy"
    UNSUPPORTED = "unsupported"
    MISMATCHED = "mismatched"
    NEUTRAL = "neutral"
    METHOD = "method"
    UNFINISHED = "unfinished"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    NOT_TEXT = "not_text"
    REPLACED = "replaced"
    CONTRADICTED = "contradicted"
    UNCHANGED = "unchanged"
    QUORUM = "quorum"
    NEAR_DUPLICATE = "near_duplicate"
    ACTOR_SHARE = "actor_share"
    ANSWERED_ANEW = "answered_anew"
    REPLAY_FULL = "replay_full"
    STRADDLES = "straddles"

    @property
    def sentence(self) -> str:
        """The reason for people."""
        return SENTENCES[self]


SENTENCES = {
    Reason.UNKNOWN_ANSWER: "The rated answer is not in the ledger (it may still wait in the spool).",
    Reason.SHADOW: "The answer came from a version in shadow, which no customer saw.",
    Reason.MEASUREMENT: "The call was a measurement.",
    Reason.NOT_STORED: "The client asked not to store the call.",
    Reason.ERASED: "The text was erased.",
    Reason.RETRACTED: "The judgement was taken back.",
    Reason.SUPERSEDED: "A later judgement of the same actor took its place.",
    Reason.NAME: "Feedback of this name may not train; it is a metric only.",
    Reason.POLICY: "training.may_train does not let this role's words train.",
    Reason.UNSUPPORTED: "The call is not a plain chat that ends with a user's turn (tools, images, completions).",
    Reason.MISMATCHED: "The two compared answers are not to the same question of the same subject.",
    Reason.NEUTRAL: "It says neither good nor bad and corrects nothing; it is a metric only.",
    Reason.METHOD: "The method cannot learn from this kind of judgement; it counted as a vote.",
    Reason.UNFINISHED: "The answer was cut off, so it is no example to follow.",
    Reason.EMPTY: "The question or the answer is empty.",
    Reason.TOO_LONG: "Question and answer together are longer than training.max_characters.",
    Reason.NOT_TEXT: "The question or the answer is hardly text.",
    Reason.REPLACED: "The same actor said something else later about the same question.",
    Reason.CONTRADICTED: "Others say otherwise about the same question, with at least as much weight.",
    Reason.UNCHANGED: "The better answer is the old one but for case, spaces and punctuation.",
    Reason.QUORUM: "Too few users say the same.",
    Reason.NEAR_DUPLICATE: "Another row says almost the same.",
    Reason.ACTOR_SHARE: "Its actor has a hand in as many rows as one actor may.",
    Reason.ANSWERED_ANEW: "A newer row answers the same question.",
    Reason.REPLAY_FULL: "The share for replayed rows was full.",
    Reason.STRADDLES: "It ties subjects of two splits together and would leak between them.",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a plain text chat."""

    role: str
    content: str


Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class SftExample:
    """An answer to imitate."""

    messages: Messages
    completion: str


@dataclass(frozen=True, slots=True)
class KtoExample:
    """An answer that was found good (`label`) or bad."""

    messages: Messages
    completion: str
    label: bool


@dataclass(frozen=True, slots=True)
class DpoExample:
    """Two answers, one better than the other."""

    messages: Messages
    chosen: str
    rejected: str


Example = SftExample | KtoExample | DpoExample


@dataclass(frozen=True, slots=True)
class Voice:
    """One judgement behind a row: who said it, of which answer, and how much it weighs."""

    interaction: str
    feedback: str
    actor: str
    weight: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row comes from. `source` is FEEDBACK, OLDER or a replay's name; a replay's row has an id, not voices."""

    source: str
    voices: tuple[Voice, ...] = ()
    item: str | None = None

    @property
    def weight(self) -> float:
        return sum(voice.weight for voice in self.voices)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a dataset."""

    example: Example
    part: Part
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """An answer that a base model or an earlier version gives well already, to be kept alive by repeating it."""

    item: str
    messages: Messages
    completion: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One input that became no row: a feedback id (or the item of a replay source) and the reason."""

    source: str
    item: str
    reason: Reason
    interaction: str | None = None


def record(row: Row) -> JsonObject:
    """A row as JSON: TRL's names for the example, then part and provenance."""
    return {**_example(row.example), "part": row.part, "provenance": _provenance(row.provenance)}


def _example(example: Example) -> JsonObject:
    messages = [{"role": message.role, "content": message.content} for message in example.messages]
    match example:
        case SftExample():
            return {"messages": messages, "completion": example.completion}
        case KtoExample():
            return {"messages": messages, "completion": example.completion, "label": example.label}
        case DpoExample():
            return {"messages": messages, "chosen": example.chosen, "rejected": example.rejected}


def _provenance(provenance: Provenance) -> JsonObject:
    voices: list[JsonObject] = [
        {"interaction": v.interaction, "feedback": v.feedback, "actor": v.actor, "weight": v.weight}
        for v in provenance.voices
    ]
    return {"source": provenance.source, "item": provenance.item, "voices": voices}
