"""What people said of answers, with the texts: what a learned judge learns from, and the answers a judge is tried on.

Only words given before a time count, so that nothing of an experiment teaches the judge of it. Decides nothing.
"""

from collections.abc import Collection, Sequence

from core.store import Store
from core.types import Feedback, Interaction
from monitoring.shadow.controls import Liked
from monitoring.shadow.questions import answer, judged, question, text_of
from monitoring.shadow.reward import MOST, Label, question_of
from monitoring.terms import Measure

TRIED = 60
"""Liked answers to different questions that a judge is tried on."""
SEARCHED = 2000
"""Judgements that are looked through for them."""


def labels(store: Store, until: int, measure: Measure, without: Collection[str] = ()) -> Sequence[Label]:
    """What was said before `until` (microseconds), oldest first, save of the answers named; a correction counts as a
    liked answer beside a disliked one."""
    found: list[Label] = []
    for word, call in judged(store, until, measure, MOST):
        if call.id not in without:
            found += _labels(word, call, measure)
    return found


def liked(store: Store, until: int, measure: Measure, most: int = TRIED) -> Sequence[Liked]:
    """The newest answers to different questions that people liked before `until` and nobody corrected or disliked."""
    found: dict[str, Liked] = {}
    refused: set[str] = set()
    for word, call in judged(store, until, measure, SEARCHED):
        asked, said = question(call.messages), _said(call)
        if asked is None or not said:
            continue
        if _likes(word, measure):
            # Put at the end, as the newest.
            found.pop(asked, None)
            found[asked] = Liked(call.id, call.messages, said)
        elif word.correction is not None or word.name == measure.name:
            refused.add(call.id)
    return [each for each in found.values() if each.interaction not in refused][-most:]


def _labels(word: Feedback, call: Interaction, measure: Measure) -> Sequence[Label]:
    asked, said = question_of(call.messages), _said(call)
    if not asked or not said:
        return ()
    if word.correction is not None:
        if answer({"content": word.correction}) == answer(call.reply):
            return (Label(asked, said, True, word.actor),)
        return (Label(asked, said, False, word.actor), Label(asked, word.correction, True, word.actor))
    if word.name != measure.name or word.value is None or measure.of(word.value) == 0.5:
        return ()
    return (Label(asked, said, _likes(word, measure), word.actor),)


def _likes(word: Feedback, measure: Measure) -> bool:
    named = word.correction is None and word.name == measure.name and word.value is not None
    return named and measure.of(word.value or 0.0) > 0.5


def _said(call: Interaction) -> str:
    return text_of((call.reply or {}).get("content")) or ""
