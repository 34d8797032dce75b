"""What one judgement claims: that an answer to a question is good or bad, or what it should have been.

Reads the ledger's JSON as plain text chats, takes personal data out, and refuses what no method could use. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.config import Metric
from core.types import Feedback, Finish, Interaction, Json, JsonObject, Role, Subject
from training import noise
from training.harvest import Judged
from training.likeness import key, plain
from training.redaction import redact
from training.rows import Message, Messages, Reason, Voice
from training.rules import Rules

ROLES = frozenset({"system", "developer", "user", "assistant"})
INSTRUCTING = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One actor's word on one answer. Keys are digests of plain text; texts are redacted.

    `question` covers the whole conversation, `prompt` leaves out the operator's instructions. `verdict` None: neither.
    """

    voice: Voice
    at: int
    subject: Subject
    trusted: bool
    messages: Messages
    question: str
    prompt: str
    reply: str
    verdict: bool | None
    finished: bool
    correction: str | None = None
    loser: str | None = None


def claim(judged: Judged, rules: Rules) -> Claim | Reason:
    """What a judgement that `harvest.bar` lets pass claims, or why it claims nothing."""
    feedback, answer = judged.feedback, judged.interaction
    metric = rules.names.get(feedback.name)
    if metric is None or not metric.may_train:
        return Reason.NAME
    trusted = feedback.role.includes(Role.REVIEWER)
    if not trusted and not rules.may_train.users:
        return Reason.POLICY
    if answer is None:
        return Reason.UNKNOWN_ANSWER
    messages, reply = _conversation(answer, rules), _reply(answer, rules)
    if messages is None or reply is None:
        return Reason.UNSUPPORTED
    verdict = None if judged.preference else is_good(metric, feedback)
    found = Claim(
        voice=Voice(answer.id, feedback.id, feedback.actor, rules.reviewer_weight if trusted else 1.0),
        at=feedback.created_at,
        subject=answer.subject,
        trusted=trusted,
        messages=messages,
        question=question_key(messages),
        prompt=prompt_key(messages),
        reply=reply,
        verdict=verdict,
        finished=answer.finish is Finish.STOP,
        correction=None if judged.preference else _clean(feedback.correction, rules),
        loser=_loser(judged, rules) if judged.preference else None,
    )
    return _refuse(found, judged, rules) or found


def is_good(metric: Metric, feedback: Feedback) -> bool | None:
    """On which side of the middle of its range the value lies, seen from the metric's better end; None on neither."""
    if feedback.value is None or metric.better == "none":
        return None
    distance = feedback.value - (metric.low + metric.high) / 2
    return None if distance == 0 else (distance > 0) is (metric.better == "higher")


def question_key(messages: Messages) -> str:
    """What two conversations share when they are the same up to case, spaces and punctuation."""
    return key(*(f"{message.role}:{plain(message.content)}" for message in messages))


def prompt_key(messages: Messages) -> str:
    """The same without the operator's instructions."""
    return key(*(plain(message.content) for message in said(messages)))


def said(messages: Messages) -> Messages:
    """The turns without the operator's instructions, which many conversations share."""
    return tuple(message for message in messages if message.role not in INSTRUCTING)


def _refuse(found: Claim, judged: Judged, rules: Rules) -> Reason | None:
    if judged.preference and (found.loser is None or not _comparable(judged)):
        return Reason.MISMATCHED
    if judged.preference and is_good(rules.names[judged.feedback.name], judged.feedback) is not True:
        return Reason.NEUTRAL
    if found.correction is None and found.loser is None and found.verdict is None:
        return Reason.NEUTRAL
    good = found.correction if found.correction is not None else found.reply
    looks = noise.judge([message.content for message in said(found.messages)], good, rules.max_characters)
    if looks is not None:
        return looks
    # A cut answer may serve as the bad one, never as an example.
    example = found.correction is None and (found.verdict or found.loser is not None)
    return Reason.UNFINISHED if example and not found.finished else None


def _comparable(judged: Judged) -> bool:
    winner, loser = judged.interaction, judged.loser
    return (
        winner is not None
        and loser is not None
        and (winner.subject, list(winner.messages)) == (loser.subject, list(loser.messages))
        and judged.feedback.role.includes(Role.REVIEWER)
    )


def _loser(judged: Judged, rules: Rules) -> str | None:
    return _reply(judged.loser, rules) if judged.loser is not None else None


def _conversation(answer: Interaction, rules: Rules) -> Messages | None:
    if answer.kind != "chat" or answer.params.get("tools"):
        return None
    messages = [_message(message, rules) for message in answer.messages]
    found = tuple(message for message in messages if message is not None)
    plain = len(found) == len(messages) and bool(found) and found[-1].role == "user"
    return found if plain else None


def _message(message: JsonObject, rules: Rules) -> Message | None:
    role, text = message.get("role"), _text(message.get("content"))
    if not isinstance(role, str) or role not in ROLES or text is None or message.get("tool_calls"):
        return None
    return Message(role, _redacted(text, rules))


def _reply(answer: Interaction, rules: Rules) -> str | None:
    """The answer's text, empty where there was none; None for tool calls and for several answers at once."""
    reply: Mapping[str, Json] = answer.reply or {}
    if reply.get("tool_calls") or reply.get("alternatives"):
        return None
    return _clean(_text(reply.get("content")) or "", rules)


def _text(content: Json) -> str | None:
    """A message's text; its parts, if all are text, in lines as the engine joins them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content]
    plain = [text for text in texts if isinstance(text, str)]
    return "\n".join(plain) if len(plain) == len(texts) else None


def _clean(text: str | None, rules: Rules) -> str | None:
    return None if text is None else _redacted(text, rules).strip()


def _redacted(text: str, rules: Rules) -> str:
    return redact(text, rules.redact, rules.keep)
