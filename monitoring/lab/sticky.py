"""Few users who rate many answers each: why a user, and not a rating, is what an experiment counts.

Replicates by ratings, in the order in which ratings come; after each of them there is a look.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.experiments.sequential import Difference, Moments
from monitoring.lab.looks import compared, moments
from monitoring.lab.traffic import Flags, Numbers
from monitoring.policy import ExperimentPolicy

USERS, RATINGS = 200, 25
TASTE = 2.0
"""Concentration of the Beta law of how much of the answers a user likes: they differ much."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Which user gave each rating (by number), what it said (-1 or 1), and the arm of the user."""

    user: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    value: Numbers
    challenger: Flags


def ratings(liked: float, replicates: int, rng: np.random.Generator) -> Ratings:
    """Equal arms: a user's taste is its own, whatever the arm."""
    order = rng.permuted(np.tile(np.repeat(np.arange(USERS), RATINGS), (replicates, 1)), axis=1)
    taste = rng.beta(liked * TASTE, (1 - liked) * TASTE, (replicates, USERS))
    arm = rng.random((replicates, USERS)) < 0.5
    up = rng.random(order.shape) < np.take_along_axis(taste, order, axis=1)
    return Ratings(order, np.where(up, 1.0, -1.0), np.take_along_axis(arm, order, axis=1))


def by_user(given: Ratings, policy: ExperimentPolicy) -> Difference:
    """The comparison of users, each with the mean of its ratings so far."""
    before, after, new = _means(given)
    champion, challenger = (_users(before, after, new, member) for member in (~given.challenger, given.challenger))
    return compared(champion, challenger, policy)


def by_rating(given: Ratings, policy: ExperimentPolicy) -> Difference:
    """The comparison of ratings as if each came from somebody else."""
    champion, challenger = (_each(given.value, member) for member in (~given.challenger, given.challenger))
    return compared(champion, challenger, policy)


def _each(value: Numbers, member: Flags) -> Moments:
    """Ratings of one arm; the square of each is one."""
    n = np.cumsum(member, axis=1, dtype=float)
    return moments(np.cumsum(np.where(member, value, 0.0), axis=1), n, n)


def _means(given: Ratings) -> tuple[Numbers, Numbers, Flags]:
    """The mean of the rating user before and after each rating, and whether it is the user's first."""
    order = np.argsort(given.user, axis=1, kind="stable")
    shape = (len(order), USERS, RATINGS)
    own = np.take_along_axis(given.value, order, axis=1).reshape(shape)
    after = np.cumsum(own, axis=2) / np.arange(1, RATINGS + 1)
    before = np.concatenate([np.zeros_like(after[..., :1]), after[..., :-1]], axis=2)
    new = np.broadcast_to(np.arange(RATINGS) == 0, shape)
    back = np.argsort(order, axis=1, kind="stable")
    return tuple(np.take_along_axis(each.reshape(order.shape), back, axis=1) for each in (before, after, new))  # type: ignore[return-value]


def _users(before: Numbers, after: Numbers, new: Flags, member: Flags) -> Moments:
    totals = (np.cumsum(np.where(member, step, 0.0), axis=1) for step in (after - before, after**2 - before**2, new))
    total, squares, n = totals
    return moments(total, squares, n)
