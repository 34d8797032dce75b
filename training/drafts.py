"""Rows in the making: a lesson, and the claims that stand behind it.

From judgements to drafts: each actor's last word, a vote on each question, and like words put together. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.types import Subject
from training.ballot import Ballot, answer_of, latest
from training.claims import Claim, claim, prompt_key, question_key, said
from training.harvest import Harvest
from training.likeness import alike, key, plain
from training.rows import FEEDBACK, Exclusion, Messages, Method, Reason, ReplayRow
from training.rules import Rules


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a claim teaches: an answer, and by method whether it is good (`label`) or what it is better than."""

    answer: str
    label: bool | None = None
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Backer:
    """A claim and its lesson; its wording stands for the row as long as it is the strongest."""

    claim: Claim
    lesson: Lesson

    @property
    def rank(self) -> tuple[float, int, str]:
        return -self.claim.voice.weight, -self.claim.at, self.claim.voice.feedback


@dataclass(frozen=True, slots=True)
class Draft:
    """One row to be: `backers`, the strongest first, say the same up to case, spaces and punctuation.

    A replayed row has `replay` instead, and the lesson in it. `id` is a digest of what the row says.
    """

    id: str
    source: str
    question: str
    prompt: str
    backers: tuple[Backer, ...] = ()
    replay: ReplayRow | None = None
    replays: Lesson | None = None

    @property
    def messages(self) -> Messages:
        return self.replay.messages if self.replay else self.backers[0].claim.messages

    @property
    def lesson(self) -> Lesson:
        return self.replays or self.backers[0].lesson

    @property
    def weight(self) -> float:
        return sum(backer.claim.voice.weight for backer in self.backers)

    @property
    def subjects(self) -> frozenset[Subject]:
        return frozenset(backer.claim.subject for backer in self.backers)

    def texts(self) -> list[str]:
        """What of it is compared with other rows: the turns, without the operator's instructions, and the answers."""
        lesson = self.lesson
        answers = [lesson.answer] if lesson.rejected is None else [lesson.answer, lesson.rejected]
        return [*(message.content for message in said(self.messages)), *answers]

    def without(self, dropped: Iterable[Backer]) -> "Draft | None":
        """The draft when some no longer stand behind it; None when nobody does."""
        gone = frozenset(backer.claim.voice.feedback for backer in dropped)
        kept = tuple(backer for backer in self.backers if backer.claim.voice.feedback not in gone)
        return replace(self, backers=kept) if kept else None

    def exclude(self, reason: Reason) -> list[Exclusion]:
        """The whole draft as inputs that became no row."""
        if self.replay:
            return [Exclusion(self.source, self.replay.item, reason)]
        return exclude(self.source, self.backers, reason)


def exclude(source: str, backers: Iterable[Backer], reason: Reason) -> list[Exclusion]:
    """These judgements as inputs that became no row."""
    voices = [backer.claim.voice for backer in backers]
    return [Exclusion(source, voice.feedback, reason, voice.interaction) for voice in voices]


def draft(
    harvest: Harvest, method: Method, rules: Rules, source: str = FEEDBACK
) -> tuple[list[Draft], list[Exclusion]]:
    """Every judgement of a harvest, once: behind one of the drafts (by id) or among the exclusions."""
    excluded = [Exclusion(source, feedback.id, why, feedback.interaction) for feedback, why in harvest.barred]
    claims: list[Claim] = []
    for feedback, found in ((judged.feedback, claim(judged, rules)) for judged in harvest.judged):
        if isinstance(found, Reason):
            excluded.append(Exclusion(source, feedback.id, found, feedback.interaction))
        else:
            claims.append(found)
    last = latest(claims)
    ballot = Ballot(last.values())
    backers: dict[tuple[str, str], list[Backer]] = {}
    for one in claims:
        taught = _lesson(one, method, ballot, rules) if one.voice.feedback in last else Reason.REPLACED
        if isinstance(taught, Reason):
            excluded.append(Exclusion(source, one.voice.feedback, taught, one.voice.interaction))
        else:
            backers.setdefault((one.question, _digest(one.question, taught)), []).append(Backer(one, taught))
    drafts = [_draft(source, identity, question, group) for (question, identity), group in backers.items()]
    return sorted(drafts, key=lambda each: each.id), excluded


def replayed(row: ReplayRow, source: str, method: Method) -> Draft | Reason:
    """The draft of a row that no judgement stands behind. Pairs cannot be made of it."""
    if method is Method.DPO:
        return Reason.METHOD
    lesson = Lesson(row.completion, label=True if method is Method.KTO else None)
    question = question_key(row.messages)
    identity = _digest(question, lesson)
    return Draft(identity, source, question, prompt_key(row.messages), replay=row, replays=lesson)


def _draft(source: str, identity: str, question: str, group: Sequence[Backer]) -> Draft:
    ranked = tuple(sorted(group, key=lambda backer: backer.rank))
    return Draft(identity, source, question, ranked[0].claim.prompt, ranked)


def _digest(question: str, lesson: Lesson) -> str:
    return key(question, plain(lesson.answer), str(lesson.label), plain(lesson.rejected or ""))


def _lesson(one: Claim, method: Method, ballot: Ballot, rules: Rules) -> Lesson | Reason:
    taught = TEACH[method](one)
    if isinstance(taught, Reason):
        return taught
    if not _wins(one, taught, ballot):
        return Reason.CONTRADICTED
    backed = ballot.is_backed(answer_of(one, taught.answer), rules.may_train.users, good=taught.label is not False)
    # A preference is a reviewer's and so not on the ballot of answers.
    return taught if backed or one.trusted else Reason.QUORUM


def _wins(one: Claim, taught: Lesson, ballot: Ballot) -> bool:
    answer = answer_of(one, taught.answer)
    if one.loser is not None:
        return ballot.prefers((*answer, plain(one.loser)))
    if taught.label is False:
        return ballot.is_bad(answer)
    worse = taught.rejected is None or not ballot.is_good(answer_of(one, taught.rejected))
    return ballot.is_good(answer) and worse


def _teach_sft(one: Claim) -> Lesson | Reason:
    if one.correction is not None:
        return Lesson(one.correction)
    return Lesson(one.reply) if one.verdict else Reason.METHOD


def _teach_kto(one: Claim) -> Lesson | Reason:
    if one.verdict is None:
        return Reason.METHOD if one.correction is None else Lesson(one.correction, label=True)
    if not one.reply:
        return Reason.EMPTY
    if one.correction is not None and alike(one.correction, one.reply):
        return Reason.UNCHANGED
    return Reason.UNFINISHED if one.verdict and not one.finished else Lesson(one.reply, label=one.verdict)


def _teach_dpo(one: Claim) -> Lesson | Reason:
    better, worse = (one.correction, one.reply) if one.loser is None else (one.reply, one.loser)
    if better is None:
        return Reason.METHOD
    if not worse:
        return Reason.EMPTY
    return Reason.UNCHANGED if alike(better, worse) else Lesson(better, rejected=worse)


TEACH: Mapping[Method, Callable[[Claim], Lesson | Reason]] = {
    Method.SFT: _teach_sft,
    Method.KTO: _teach_kto,
    Method.DPO: _teach_dpo,
}
