"""No actor may have a hand in more than its share of a dataset, however much it says. Pure.

What is too much is an actor's voice, not the row: a row that others stand behind too stays, so that nobody can push
others' rows out by agreeing with them.
"""

from collections import Counter
from collections.abc import Sequence

from training.drafts import Backer, Draft, exclude
from training.likeness import key
from training.rows import Exclusion, Reason
from training.rules import Rules


def cap(drafts: Sequence[Draft], rules: Rules) -> tuple[list[Draft], list[Exclusion]]:
    """The drafts within every actor's share of them, in the same order, and the voices that were too many.

    Which voices stay is drawn by a salted digest, so that nobody can choose. Replayed rows count for nobody.
    """
    order = sorted(drafts, key=lambda draft: key(rules.salt, draft.id))
    excluded: list[Exclusion] = []
    while True:
        kept, over = _pass(order, rules)
        excluded += over
        if not over:
            break
        # Fewer rows make smaller shares, so look again.
        order = kept
    within = {draft.id: draft for draft in order}
    return [within[draft.id] for draft in drafts if draft.id in within], excluded


def _pass(drafts: Sequence[Draft], rules: Rules) -> tuple[list[Draft], list[Exclusion]]:
    total = sum(1 for draft in drafts if draft.backers)
    hands: Counter[str] = Counter()
    kept: list[Draft] = []
    excluded: list[Exclusion] = []
    for draft in drafts:
        over = [backer for backer in draft.backers if hands[backer.claim.voice.actor] >= _allowed(backer, total, rules)]
        excluded += exclude(draft.source, over, Reason.ACTOR_SHARE)
        rest = draft.without(over) if over else draft
        if rest is not None:
            kept.append(rest)
            hands.update({backer.claim.voice.actor for backer in rest.backers})
    return kept, excluded


def _allowed(backer: Backer, total: int, rules: Rules) -> int:
    return (rules.reviewer_shares if backer.claim.trusted else rules.user_shares).allowance(total)
