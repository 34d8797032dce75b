"""How a candidate compares with the champion, before any customer sees it: held-out rows and frozen old skills.

Both answer greedily on one loaded base. What follows from the figures is for monitoring to decide.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
from peft import PeftModel

from core.decoys import decoys
from core.errors import SetupError
from core.types import JsonObject
from training import metrics
from training.answers import Answer, Question, answer_all
from training.failure import Code, RunFailed
from training.likeness import key, plain
from training.lora import load_base
from training.progress import Point, Progress, Stage
from training.rendering import Renderer
from training.rows import DpoExample, Example, KtoExample, Message, Messages, Part, Row

log = logging.getLogger(__name__)

CANDIDATE, CHAMPION = "candidate", "champion"
MOST = 500
"""Questions of one set; beyond, as many are drawn, the same ones each time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the text of its reference. Rows of one unit depend on each other."""

    unit: str
    messages: Messages
    reference: str


@dataclass(frozen=True, slots=True)
class Said:
    """What one version answered."""

    text: str
    tokens: int
    bits: float


@dataclass(frozen=True, slots=True)
class Paper:
    """The answers of both versions to one set of questions."""

    asked: Sequence[Asked]
    champion: Sequence[Said]
    candidate: Sequence[Said]


def held_out(rows: Sequence[Row]) -> list[Asked]:
    """The questions of rows that were kept from training; of thumbs only liked answers are a reference."""
    found = ((row.example, reference(row.example)) for row in rows if row.part is Part.HELDOUT)
    return _drawn(_ask(example.messages, text) for example, text in found if text is not None)


def old_skills(path: Path | None) -> list[Asked]:
    """The questions of a file with one JSON object a line: a prompt or messages, and the answer. Raises RunFailed."""
    if path is None:
        return []
    try:
        lines: list[dict[str, Any]] = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        return _drawn(_ask(_messages(line), line["answer"]) for line in lines)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise RunFailed(Code.OLD_SKILLS, f"The old skills in {path} cannot be read: {error!r:.200}.") from None


def reference(example: Example) -> str | None:
    """The answer that an example holds up as good, if it does."""
    match example:
        case KtoExample():
            return example.completion if example.label else None
        case DpoExample():
            return example.chosen
    return example.completion


def leaks(rows: Sequence[Row]) -> int:
    """Held-out rows whose question and answer were also learned; there should be none."""
    learned = {_identity(row.example) for row in rows if row.part is Part.TRAIN}
    return sum(_identity(row.example) in learned for row in rows if row.part is Part.HELDOUT)


def evaluate(
    rows: Sequence[Row],
    base: Path,
    candidate: Path,
    champion: Path | None,
    skills: Sequence[Asked],
    renderer: Renderer,
    progress: Progress,
) -> JsonObject:
    """The comparison as JSON. Adapters are folders; no champion stands for the base itself.

    Questions about old skills that the template refuses are not asked.
    """
    start = time.monotonic()
    sets = held_out(rows), [asked for asked in skills if _is_askable(asked, renderer)]
    model = PeftModel.from_pretrained(load_base(base), candidate, adapter_name=CANDIDATE)
    if champion is not None:
        model.load_adapter(champion, CHAMPION)
    everything = [asked for some in sets for asked in some]
    challenger, current = _answers(model, renderer, everything, champion is not None, progress)
    cut = len(sets[0])
    papers = [
        Paper(sets[0], current[:cut], challenger[:cut]),
        Paper(sets[1], current[cut:], challenger[cut:]),
    ]
    return {
        "held_out": _comparison(papers[0]),
        "old_skills": _comparison(papers[1]),
        "length_ratio": _length_ratio(current, challenger),
        "leaks": leaks(rows),
        "seconds": round(time.monotonic() - start, 3),
    }


def _answers(
    model: PeftModel, renderer: Renderer, asked: Sequence[Asked], adapted: bool, progress: Progress
) -> tuple[list[Said], list[Said]]:
    """What the candidate says, and what the champion says."""
    questions = [Question(renderer.prompt(a.messages), renderer.answer(a.messages, a.reference)) for a in asked]
    total = 2 * len(asked)

    def told(before: int) -> Callable[[int], None]:
        return lambda done: _tell(progress, before + done, total)

    def said(answers: Sequence[Answer]) -> list[Said]:
        return [Said(renderer.text(answer.ids), len(answer.ids), answer.bits) for answer in answers]

    model.set_adapter(CANDIDATE)
    candidate = said(answer_all(model, renderer, questions, told(0)))
    if adapted:
        model.set_adapter(CHAMPION)
        return candidate, said(answer_all(model, renderer, questions, told(len(asked))))
    with model.disable_adapter():
        return candidate, said(answer_all(model, renderer, questions, told(len(asked))))


def _is_askable(asked: Asked, renderer: Renderer) -> bool:
    try:
        renderer.answer(asked.messages, asked.reference)
    except SetupError as error:
        log.warning("an old skill is not asked for: %s", error.message)
        return False
    return True


def _tell(progress: Progress, done: int, total: int) -> None:
    progress.tell(Point(Stage.EVALUATING, done, total))


def _comparison(paper: Paper) -> JsonObject | None:
    if not paper.asked:
        return None
    return {
        "pairs": [
            [a.unit, _right(new, a) - _right(old, a), new.text.strip() == old.text.strip()]
            for a, old, new in zip(paper.asked, paper.champion, paper.candidate, strict=True)
        ],
        "decoys": _decoys(paper),
        "champion": _metrics(paper.asked, paper.champion),
        "candidate": _metrics(paper.asked, paper.candidate),
    }


def _decoys(paper: Paper) -> JsonObject:
    """What the same comparison makes of answers that it may not prefer: their differences, pair by pair."""
    right = [_right(said, asked) for said, asked in zip(paper.champion, paper.asked, strict=True)]
    return {
        name: [
            metrics.exact(text, asked.reference) - champion
            for text, asked, champion in zip(told, paper.asked, right, strict=True)
        ]
        for name, told in decoys([said.text for said in paper.champion]).items()
    }


def _metrics(asked: Sequence[Asked], said: Sequence[Said]) -> JsonObject:
    both = [(answer.text, question.reference) for question, answer in zip(asked, said, strict=True)]
    size = sum(len(question.reference.encode(errors="surrogatepass")) for question in asked)
    return {
        "n": len(both),
        "exact": fmean(metrics.exact(*pair) for pair in both),
        "f1": fmean(metrics.token_f1(*pair) for pair in both),
        "rouge_l": fmean(metrics.rouge_l(*pair) for pair in both),
        "bits_per_byte": sum(answer.bits for answer in said) / max(size, 1),
        "characters": fmean(len(text) for text, _ in both),
    }


def _right(said: Said, asked: Asked) -> float:
    return metrics.exact(said.text, asked.reference)


def _length_ratio(champion: Sequence[Said], candidate: Sequence[Said]) -> float | None:
    """Mean tokens of the candidate's answers over those of the champion's."""
    before = sum(answer.tokens for answer in champion)
    return sum(answer.tokens for answer in candidate) / before if before else None


def _drawn(asked: Iterator[Asked]) -> list[Asked]:
    every = list(asked)
    kept = sorted(range(len(every)), key=lambda place: key(every[place].unit, every[place].reference))[:MOST]
    return [every[place] for place in sorted(kept)]


def _ask(messages: Messages, text: str) -> Asked:
    """The unit is the question: all that was said of it stands or falls together."""
    return Asked(key(*(plain(message.content) for message in messages))[:16], messages, text)


def _messages(line: dict[str, Any]) -> Messages:
    turns = line.get("messages") or [{"role": "user", "content": line["prompt"]}]
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def _identity(example: Example) -> str:
    good = reference(example)
    texts = (plain(message.content) for message in example.messages)
    return key(*texts, plain(good) if good is not None else "")
