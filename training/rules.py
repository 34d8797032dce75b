"""What may become training data, as one record that the pipeline is given; nothing here decides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config import FeedbackNames, Metric
from core.errors import ConfigError
from training.redaction import ALL_KINDS, Kind


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose words train: reviewers' and operators' always, users' where at least `users` of them say the same.

    Zero users means that theirs never do. A key's holder names its users, so a quorum trusts the holders of keys.
    """

    users: int = 0

    def __str__(self) -> str:
        return {0: "reviewers", 1: "all"}.get(self.users, f"quorum({self.users})")


@dataclass(frozen=True, slots=True)
class Shares:
    """In how many rows one actor may have a hand: a `share` of all (0..1), and in any case `rows` of them."""

    share: float
    rows: int

    def allowance(self, total: int) -> int:
        return max(self.rows, int(self.share * total))


@dataclass(frozen=True, slots=True)
class Rules:
    """Every choice of curation. Weights are relative to a user's 1; shares are 0..1; `salt` is an install's own."""

    salt: str
    may_train: Policy = Policy()
    names: Mapping[str, Metric] = field(default_factory=lambda: FeedbackNames().names)
    reviewer_weight: float = 5.0
    user_shares: Shares = Shares(0.01, 5)
    reviewer_shares: Shares = Shares(0.5, 1000)
    max_characters: int = 20_000
    redact: frozenset[Kind] = ALL_KINDS
    keep: tuple[str, ...] = ()
    near_duplicate: float = 0.8
    replay_share: float = 0.5
    replay_rows: int = 0
    validation: float = 0.1
    heldout: float = 0.15


def policy(text: str) -> Policy:
    """`reviewers`, `all` or `quorum(k)` with k >= 2. Raises ConfigError."""
    if text in ("reviewers", "all"):
        return Policy(int(text == "all"))
    found = re.fullmatch(r"quorum\(([0-9]{1,6})\)", text)
    if found is None or int(found[1]) < 2:
        raise ConfigError(
            f"setting training.may_train: {text!r} is none of reviewers, quorum(k) with k of 2 or more, and all."
        )
    return Policy(int(found[1]))
