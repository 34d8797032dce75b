"""Older good answers, repeated so that new lessons do not push them out: which of them, and how many. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from training import noise
from training.claims import said
from training.drafts import Draft, replayed
from training.likeness import key
from training.rows import Exclusion, Method, Reason, ReplayRow
from training.rules import Rules
from training.thinning import Thinner


def pool(rows: Mapping[str, Sequence[ReplayRow]], method: Method, rules: Rules) -> tuple[list[Draft], list[Exclusion]]:
    """Drafts of what base models and earlier versions answer well, by the name of their source."""
    drafts: list[Draft] = []
    excluded: list[Exclusion] = []
    for source, row in ((source, row) for source, some in rows.items() for row in some):
        turns = [message.content for message in said(row.messages)]
        made = noise.judge(turns, row.completion, rules.max_characters) or replayed(row, source, method)
        if isinstance(made, Reason):
            excluded.append(Exclusion(source, row.item, made))
        else:
            drafts.append(made)
    return drafts, excluded


def wanted(new: int, share: float) -> int:
    """How many replayed rows make up `share` (0 <= share < 1) of the whole beside `new` rows."""
    return round(new * share / (1 - share))


def draw(
    new: Sequence[Draft], candidates: Iterable[Draft], thinner: Thinner, rules: Rules
) -> tuple[list[Draft], list[Exclusion]]:
    """As many candidates as share or number want, evenly from each source, none that new rows answer anew.

    `thinner` knows the new rows already.
    """
    asked = frozenset(draft.question for draft in new)
    waiting = _queues(candidates, rules)
    drawn: list[Draft] = []
    excluded: list[Exclusion] = []
    room = max(wanted(len(new), rules.replay_share), rules.replay_rows) if new else 0
    while waiting:
        queue = waiting.popleft()
        draft = queue.popleft()
        if queue:
            waiting.append(queue)
        if reason := _refuse(draft, asked, thinner, full=len(drawn) >= room):
            excluded += draft.exclude(reason)
        else:
            drawn.append(draft)
    return drawn, excluded


def _refuse(draft: Draft, asked: frozenset[str], thinner: Thinner, *, full: bool) -> Reason | None:
    if draft.question in asked:
        return Reason.ANSWERED_ANEW
    if draft.lesson.label is False:
        return Reason.METHOD
    if full:
        return Reason.REPLAY_FULL
    return None if thinner.admit(draft) else Reason.NEAR_DUPLICATE


def _queues(candidates: Iterable[Draft], rules: Rules) -> deque[deque[Draft]]:
    queues: dict[str, deque[Draft]] = {}
    for draft in sorted(candidates, key=lambda draft: (key(rules.salt, draft.id), draft.source, _item(draft))):
        queues.setdefault(draft.source, deque()).append(draft)
    return deque(queues[source] for source in sorted(queues))


def _item(draft: Draft) -> str:
    return draft.replay.item if draft.replay else ""
