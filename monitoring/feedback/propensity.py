"""What the people who were asked say of all answers, and how far it can be trusted.

Of an answer that was asked about there is a probability of asking, and perhaps a rating. Three things follow. The
shares of up and of down an answer that is asked about, silence being neither: they assume nothing. Bounds on the share
of good answers (C. Manski, Nonparametric bounds on treatment effects, 1990): as if all who are silent were displeased,
or all pleased. And one number between them for whoever is ready to assume that among answers of one kind silence says
nothing: weights of one over the probability of being rated, normalised by their own sum (J. Hajek, 1971). Ups over ups
and downs are nowhere called quality: where the displeased rate more, they say nothing about it.

Weights are clipped at CLIP times their mean, and no actor has more than CAP of all weight (twice an even share where
there are few). Intervals are of LEVEL for one look, with actors as units: the variance of a ratio by the jackknife over
actors, put into Wilson's interval as a number of independent answers, with Student's quantile for few actors (as
N. Dean and M. Pagano, J. Surv. Stat. Methodol. 3, 2015, recommend for shares from clustered surveys). They are for
reading, not for stopping. Pure.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from core.stats import Interval

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

CLIP = 20.0
CAP = 0.05
LEVEL = 0.95
ANYWHERE = Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Asks:
    """Answers that were asked about. A row is one answer, or as many as agree in actor, probability and kind.

    `actor` and `kind` count from 0, `probability` is that of asking, `up` the sum of ratings between 0 and 1.
    """

    actor: Numbers
    probability: Array
    kind: Numbers
    asked: Array
    rated: Array
    up: Array

    @classmethod
    def of(cls, actor: ArrayLike, probability: ArrayLike, rated: ArrayLike, up: ArrayLike, kind: ArrayLike = 0) -> Self:
        """One row for each answer; an `up` that was not given is not looked at."""
        who = np.unique(np.asarray(actor), return_inverse=True)[1].astype(np.int64)
        given = np.asarray(rated, float)
        chance = np.broadcast_to(np.asarray(probability, float), who.shape)
        kinds = np.unique(np.broadcast_to(np.asarray(kind), who.shape), return_inverse=True)[1].astype(np.int64)
        return cls(who, chance, kinds, np.ones(len(who)), given, given * np.asarray(up, float))


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval; `size` is the number of answers of equal weight that would say as much (Kish)."""

    value: float | None
    low: float
    high: float
    size: float = 0.0


NOTHING = Share(None, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Estimates:
    """What was made of the ratings that were asked for. Shares are of all answers, weighed by how they were asked."""

    asked: int
    rated: int
    actors: int
    response: Share
    up: Share
    down: Share
    ipw: Share
    """The share of good answers if, among answers of one kind, who is silent thinks like who is not."""
    manski: Interval
    """The share of good answers whatever the silent think, as far as these answers go."""
    quality: Interval
    """The same with the error of having asked so few: what may be said of quality without assuming anything."""
    largest_weight: float
    """The largest share of the weight that one actor has."""
    largest_uncapped: float
    """What it would be without the cap."""


def estimates(asks: Asks, actors: int | None = None) -> Estimates:
    """All that can be said. `actors` is their number where the rows' own numbers stand for several of them."""
    who, asked = asks.actor, asks.asked
    plain = clipped(1.0 / asks.probability, asked)
    weights = capped(plain, asked, who)
    up = self_normalised(asks.up, asked, weights, who)
    down = self_normalised(asks.rated - asks.up, asked, weights, who)
    return Estimates(
        asked=int(asked.sum()),
        rated=int(asks.rated.sum()),
        actors=len(np.unique(who)) if actors is None else actors,
        response=self_normalised(asks.rated, asked, weights, who),
        up=up,
        down=down,
        ipw=of_rated(asks, weights),
        manski=manski(up.value, down.value),
        quality=Interval(up.low, 1.0 - down.low),
        largest_weight=largest(weights, asked, who),
        largest_uncapped=largest(plain, asked, who),
    )


def of_rated(asks: Asks, weights: Array) -> Share:
    """The share of good answers, each rating standing for the silence about answers of its kind."""
    asked, rated = _by(asks.kind, weights * asks.asked), _by(asks.kind, weights * asks.rated)
    # Where nobody rated there is nothing to weigh.
    silence = np.divide(asked, rated, out=np.ones_like(asked), where=rated > 0)
    standing_for = clipped(weights * silence[asks.kind], asks.rated)
    return self_normalised(asks.up, asks.rated, capped(standing_for, asks.rated, asks.actor), asks.actor)


def manski(up: float | None, down: float | None) -> Interval:
    """The bounds: [up, up + silent] as shares of the answers that were asked about."""
    return ANYWHERE if up is None or down is None else Interval(up, max(1.0 - down, up))


def self_normalised(totals: Array, counts: Array, weights: Array, actor: Numbers) -> Share:
    """The weighted mean of values between 0 and 1, of which each row holds `counts` with the sum `totals`."""
    weight, sums = _by(actor, weights * counts), _by(actor, weights * totals)
    whole = float(weight.sum())
    if whole <= 0:
        return NOTHING
    value = min(max(float(sums.sum()) / whole, 0.0), 1.0)
    size = effective_size(weights, counts)
    people = effective_size(weight, np.ones_like(weight))
    units = int(np.count_nonzero(weight))
    if units < 2:
        return Share(value, 0.0, 1.0, size)
    # The delete-one jackknife, which stays wide enough where few actors have much of the weight.
    without = (sums - value * weight) / (whole - weight)
    scatter = float(np.square(without).sum()) * (units - 1) / units
    # All alike: nothing scatters, and every actor counts once.
    independent = min(value * (1.0 - value) / scatter, size) if scatter > 0 else min(people, size)
    low, high = _wilson(value, independent, float(stdtrit(max(people - 1.0, 1.0), (1.0 + LEVEL) / 2)))
    return Share(value, low, high, size)


def effective_size(weights: Array, counts: Array) -> float:
    """Kish's (sum w)^2 / sum w^2, where `counts` say how often each weight is there; 0 for nothing."""
    squares = float((np.square(weights) * counts).sum())
    return float((weights * counts).sum()) ** 2 / squares if squares > 0 else 0.0


def clipped(weights: Array, counts: Array) -> Array:
    """None above CLIP times the mean: only their proportions matter, so neither does their unit."""
    present = float(counts.sum())
    return np.minimum(weights, CLIP * float((weights * counts).sum()) / present) if present else weights


def capped(weights: Array, counts: Array, actor: Numbers) -> Array:
    """Those of actors with more than CAP of the whole made smaller, so that nobody has more than that of the new whole.

    Among fewer than forty actors the cap is twice an even share.
    """
    weight = _by(actor, weights * counts)
    ordered = np.sort(weight[weight > 0])[::-1]
    if not len(ordered):
        return weights
    cap = max(CAP, 2.0 / len(ordered))
    rest = ordered.sum() - np.concatenate([[0.0], np.cumsum(ordered)])
    # With the k largest at the bound, the bound is its share of everything: b = cap (k b + rest).
    for above, weightiest in enumerate(ordered):
        if cap * above >= 1.0:
            break
        bound = cap * rest[above] / (1.0 - cap * above)
        if weightiest <= bound * (1.0 + 1e-12):
            factor = np.divide(bound, weight, out=np.ones_like(weight), where=weight > bound)
            smaller: Array = weights * factor[actor]
            return smaller
    return weights


def largest(weights: Array, counts: Array, actor: Numbers) -> float:
    """The largest share of the weight that one actor has."""
    weight = _by(actor, weights * counts)
    return float(weight.max() / weight.sum()) if weight.sum() > 0 else 0.0


def _by(group: Numbers, values: Array) -> Array:
    """The sum of the values of each group."""
    return np.bincount(group, values).astype(np.float64)


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """The score interval, for a number of answers that need not be whole."""
    weight = 1 + z * z / n
    center = (share + z * z / (2 * n)) / weight
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / weight
    return (0.0 if share == 0 else max(center - reach, 0.0)), (1.0 if share == 1 else min(center + reach, 1.0))
