"""`hone lab aa`: both arms are the same, and one looks at every subject. How often is a difference claimed?"""

from collections.abc import Iterator, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from core.settings import Settings
from core.types import JsonObject
from monitoring.experiments.sequential import Difference, ratio_log_e
from monitoring.experiments.superiority import Verdicts
from monitoring.lab import looks, sticky
from monitoring.lab.figures import Figure, Panel, Report, share
from monitoring.lab.progress import Step
from monitoring.lab.traffic import Cohort, Flags, Population, World, cohort
from monitoring.policy import ExperimentPolicy, Rule, policies

QUESTION = "Both arms are the same. How often is a difference claimed?"
PLANS = 5
"""How many times the planned subjects each run goes on: nobody has to stop at the plan under `anytime`."""
CELLS = 1_000_000
"""Subjects that are held in memory at a time, over all replicates."""
SPLIT = "equal split: it is called broken"
PROMOTED = "a candidate that is no better is promoted"
THUMB = "rules of thumb: a difference is claimed"

SEQUENTIAL, CHI_SQUARED = "sequential test, a look at every subject", "chi-squared at 5 %, a look at every subject"
FEWEST = 16
"""Subjects before chi-squared is looked at."""

Outcomes = dict[tuple[str, str], list[NDArray[np.generic]]]
"""The last look's verdicts by rule (or rule of thumb) and world, a list of batches."""


def simulate(
    settings: Settings, population: Population, replicates: int, users: int | None, seed: int, step: Step
) -> Report:
    """The share of runs in which each rule claims a difference, in each world. Raises ConfigError."""
    policy = policies(settings).experiment
    count = users or subjects(population, policy)
    found = outcomes(population, policy, replicates, count, seed, step)
    figures = list(_figures(found, policy))
    return Report(
        "aa",
        QUESTION,
        figures,
        _panels(policy),
        tuple(_says(figures, policy, count)),
        used(policy),
        options(population, replicates, count, seed),
    )


def subjects(population: Population, policy: ExperimentPolicy, plans: float = PLANS) -> int:
    """Subjects that have to come until `plans` times the planned number of them has rated."""
    return int(np.ceil(plans * policy.planned / population.raters))


def used(policy: ExperimentPolicy) -> JsonObject:
    """The settings behind an A/B, as the policy has them."""
    names = ("metric", "rule", "alpha", "planned", "looks", "minimum")
    return {f"experiment.{name}": getattr(policy, name) for name in names}


def options(population: Population, replicates: int, users: int, seed: int) -> JsonObject:
    return {
        "replicates": replicates,
        "users": users,
        "seed": seed,
        "rating_rate": population.rate,
        "liked": population.liked,
        "answers": population.answers,
        "first_share": population.first_share,
        "share": population.share,
    }


def outcomes(
    population: Population, policy: ExperimentPolicy, replicates: int, users: int, seed: int, step: Step
) -> Outcomes:
    """Every rule in every world; each world has random numbers of its own."""
    found: Outcomes = {}
    for number, world in enumerate(World):
        rng = np.random.default_rng([seed, number])
        size = max(1, CELLS // (users if world is not World.STICKY else sticky.USERS * sticky.RATINGS))
        for done in range(0, replicates, size):
            step(f"world: {world}", (number + done / replicates) / len(World))
            for name, verdicts in _batch(world, population, policy, (min(size, replicates - done), users), rng):
                found.setdefault((name, world), []).append(verdicts[:, -1])
    return found


def _batch(
    world: World,
    population: Population,
    policy: ExperimentPolicy,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    if world is World.STICKY:
        given = sticky.ratings(population.liked, shape[0], rng)
        yield from _rules(sticky.by_user(given, policy), policy)
        yield (
            "anytime, but per rating",
            looks.verdicts(sticky.by_rating(given, policy), Rule.ANYTIME, policy),
        )
        return
    subjects = cohort(world, population, 0.0, shape, rng)
    found = looks.after_each(subjects, policy)
    yield from _rules(found, policy)
    if world is World.PLAIN:
        yield from _splits(subjects, population, policy)
    if world is World.RAMP:
        together = looks.pooled(subjects, policy)
        yield "anytime, but steps pooled", looks.verdicts(together, Rule.ANYTIME, policy)
    else:
        yield "z-test at every look", looks.peeked(found)


def _rules(found: Difference, policy: ExperimentPolicy) -> Iterator[tuple[str, Verdicts]]:
    for rule in Rule:
        yield rule, looks.verdicts(found, rule, policy)


def _splits(subjects: Cohort, population: Population, policy: ExperimentPolicy) -> Iterator[tuple[str, Flags]]:
    """Whether the split of subjects was ever called broken: by the sequential test, and by chi-squared each time."""
    taken = np.cumsum(subjects.challenger, axis=1)
    n = np.arange(1, taken.shape[1] + 1)
    log_e = ratio_log_e(np.stack([n - taken, taken], axis=-1), (1 - population.share, population.share))
    yield SEQUENTIAL, np.maximum.accumulate(log_e >= log(1 / policy.ratio_alpha), axis=1)
    off = np.abs(taken - population.share * n) / np.sqrt(population.share * (1 - population.share) * n)
    yield CHI_SQUARED, np.maximum.accumulate((off > looks.Z) & (n >= FEWEST), axis=1)


def _figures(found: Outcomes, policy: ExperimentPolicy) -> Iterator[Figure]:
    ends = {key: np.concatenate(batches) for key, batches in found.items()}
    for rule in Rule:
        for (name, world), verdicts in ends.items():
            if name == rule:
                yield share(claimed(rule), world, verdicts != 0, at_most=policy.alpha)
    for (name, world), verdicts in ends.items():
        if name in tuple(Rule):
            yield share(PROMOTED, f"{name}: {world}", verdicts == 1, at_most=policy.alpha)
    plain = World.PLAIN
    yield share(SPLIT, SEQUENTIAL, ends[SEQUENTIAL, plain] != 0, at_most=policy.ratio_alpha)
    yield share(SPLIT, CHI_SQUARED, ends[CHI_SQUARED, plain] != 0, thumb=True)
    for (name, world), verdicts in ends.items():
        if name not in (*Rule, SEQUENTIAL, CHI_SQUARED):
            yield share(THUMB, f"{name}: {world}", verdicts != 0, thumb=True)


def claimed(rule: Rule) -> str:
    return f"rule {rule}: a difference is claimed"


def _panels(policy: ExperimentPolicy) -> Sequence[Panel]:
    groups = (*map(claimed, Rule), THUMB)
    return (
        Panel("Equal arms, a look at every subject", "runs that claim a difference", groups=groups, level=policy.alpha),
    )


def _says(figures: Sequence[Figure], policy: ExperimentPolicy, users: int) -> Iterator[str]:
    def worst(group: str) -> Figure:
        return max((f for f in figures if f.group == group), key=lambda f: f.value or 0.0)

    ours, theirs = worst(claimed(policy.rule)), worst(THUMB)
    yield (
        f"With your rule ({policy.rule}, {policy.planned} planned) {ours.value:.1%} of the runs without any difference "
        f"claim one, at the worst ({ours.name}); stated are at most {policy.alpha:.0%}, either way, over {users:,} "
        "subjects."
    )
    yield f"The worst shortcut is wrong in {theirs.value:.0%} of them: {theirs.name}."
