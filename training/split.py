"""Which rows are learnt from and which judge the result, so that nothing leaks from one to the other. Pure.

Rows of one subject, of one prompt, or that look alike belong together: whole groups go by a salted digest, which puts
a group where it was before as long as its first member stays. In a busy place nearly all rows hang together through a
few popular questions; such a group is cut between its subjects, and the voices that still tie two parts are left out.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from training.drafts import Backer, Draft, exclude
from training.rows import Exclusion, Part, Reason
from training.rules import Rules
from training.thinning import Tie

TOO_LARGE, SMALL = 0.2, 10
"""The share of all rows beyond which a group is cut, and the number of rows up to which it never is."""


Placed = dict[str, tuple[Draft, Part]]


class Groups:
    """A partition that grows coarser: union-find with path halving."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, item: Hashable) -> Hashable:
        """The item that stands for the group."""
        parent = self._parent
        while (above := parent.setdefault(item, item)) != item:
            parent[item] = item = parent[above]
        return item

    def join(self, a: Hashable, b: Hashable) -> None:
        self._parent[self.find(a)] = self.find(b)


def split(
    drafts: Sequence[Draft], ties: Iterable[Tie], rules: Rules
) -> tuple[list[tuple[Draft, Part]], list[Exclusion]]:
    """Each draft with its part, in the same order, and the voices (or whole rows) that would leak."""
    judged = [draft for draft in drafts if draft.backers]
    known = {draft.id for draft in judged}
    near = [tie for tie in ties if known.issuperset(tie)]
    groups = _gather(judged, near, by_subject=True)
    largest = max(SMALL, int(TOO_LARGE * len(judged)))
    whole = [group for group in groups if len(group) <= largest or len(_subjects(group)) < 2]
    # Rows that nobody judged are there to be repeated: they judge nothing, and lie apart from all that does.
    placed = {draft.id: (draft, Part.TRAIN) for draft in drafts if not draft.backers} | _place(whole, rules)
    excluded: list[Exclusion] = []
    for group in groups:
        if len(group) > largest and len(_subjects(group)) > 1:
            cut, crossing = _cut(group, near, rules)
            placed |= cut
            excluded += crossing
    return [placed[draft.id] for draft in drafts if draft.id in placed], excluded


def share_of(salt: str, name: str) -> float:
    """A number in [0, 1) that this name always gets under this salt."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8], "big") / 2**64


def _gather(drafts: Sequence[Draft], ties: Iterable[Tie], *, by_subject: bool) -> list[list[Draft]]:
    groups = Groups()
    for draft in drafts:
        groups.join(("row", draft.id), ("prompt", draft.prompt))
        for subject in draft.subjects if by_subject else ():
            groups.join(("row", draft.id), ("subject", subject))
    for a, b in ties:
        groups.join(("row", a), ("row", b))
    members: defaultdict[Hashable, list[Draft]] = defaultdict(list)
    for draft in drafts:
        members[groups.find(("row", draft.id))].append(draft)
    return list(members.values())


def _subjects(group: Iterable[Draft]) -> frozenset[str]:
    return frozenset[str]().union(*(draft.subjects for draft in group))


def _name(group: Iterable[Draft]) -> str:
    """What a group is drawn by: the first of its subjects and prompts."""
    return min(_subjects(group) | {draft.prompt for draft in group})


def _draw(name: str, rules: Rules) -> Part:
    share = share_of(rules.salt, name)
    if share < rules.heldout:
        return Part.HELDOUT
    return Part.VALIDATION if share < rules.heldout + rules.validation else Part.TRAIN


def _place(groups: Iterable[Sequence[Draft]], rules: Rules) -> Placed:
    ordered = sorted(groups, key=lambda group: share_of(rules.salt, _name(group)))
    parts = [_draw(_name(group), rules) for group in ordered]
    # With few groups chance may leave a part empty; then the group that came nearest to it goes there.
    for wanted, share in ((Part.HELDOUT, rules.heldout), (Part.VALIDATION, rules.validation)):
        if share and wanted not in parts and parts.count(Part.TRAIN) > 1:
            parts[parts.index(Part.TRAIN)] = wanted
    if parts and Part.TRAIN not in parts:
        parts[-1] = Part.TRAIN
    return {draft.id: (draft, part) for group, part in zip(ordered, parts, strict=True) for draft in group}


def _cut(group: Sequence[Draft], ties: Iterable[Tie], rules: Rules) -> tuple[Placed, list[Exclusion]]:
    members = {draft.id for draft in group}
    placed: Placed = {}
    excluded: list[Exclusion] = []
    for alike in _gather(group, [tie for tie in ties if members.issuperset(tie)], by_subject=False):
        part = _heaviest(alike, rules)
        for draft in alike:
            crossing = [backer for backer in draft.backers if _side(backer, rules) is not part]
            excluded += exclude(draft.source, crossing, Reason.STRADDLES)
            rest = draft if not crossing else draft.without(crossing)
            if rest is not None:
                placed[rest.id] = rest, part
    return placed, excluded


def _heaviest(alike: Sequence[Draft], rules: Rules) -> Part:
    """The part in which most of the weight behind these rows lies; that of their prompt when nobody stands behind."""
    weights: defaultdict[Part, float] = defaultdict(float)
    for backer in (backer for draft in alike for backer in draft.backers):
        weights[_side(backer, rules)] += backer.claim.voice.weight
    return max(weights, key=lambda part: (weights[part], part)) if weights else _draw(_name(alike), rules)


def _side(backer: Backer, rules: Rules) -> Part:
    return _draw(backer.claim.subject, rules)
