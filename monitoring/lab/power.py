"""`hone lab power`: the challenger is better by so much. How often is that seen, and after how many rated subjects?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from core.errors import BadRequest
from core.settings import Settings
from monitoring.experiments import superiority
from monitoring.experiments.arms import Column
from monitoring.experiments.experiment import FLOOR_OF_NET
from monitoring.experiments.sequential import Difference
from monitoring.experiments.superiority import Verdicts
from monitoring.lab import looks
from monitoring.lab.aa import CELLS, options, subjects, used
from monitoring.lab.figures import Curve, Figure, Panel, Report, Unit, mean, share
from monitoring.lab.progress import Step
from monitoring.lab.traffic import Numbers, Population, World, cohort, known
from monitoring.policy import ExperimentPolicy, Rule, policies

QUESTION = "The challenger's answers are liked more often. How often is that seen, and after how many subjects?"
EFFECTS = (0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)
"""Rises of the share of answers that are liked."""
PLANS = 3
"""How many times the planned subjects each run goes on."""
PILOT = (20, 2000)
WANTED = 0.8
"""The power that plans are made for."""
ONCE = "one look at the plan's end"
NEEDED = "rated subjects to plan for, at power 80 %"
BUDGET = "rated subjects for that, as a multiple of a test with one look"
HISTORY = "variance that earlier answers explain (CUPED)"
KNOWN, EARLIER = 20_000, (1.0, 3.0)
"""Subjects with a past, and how many times as many answers they had then."""
PLAN = "what your plan is made for, at power 80 %"
POINTS = "rise of the share liked, in points"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one effect led to: by rule, whether it was called better, and after how many rated subjects it ended."""

    effect: float
    metric: float
    """The same effect as experiments have it: ups less downs an answer."""
    better: dict[str, Numbers]
    ended: dict[str, Numbers]

    @property
    def name(self) -> str:
        return f"{self.effect * 100:+.1f} points ({self.metric:+.3f} an answer)"


def simulate(
    settings: Settings,
    population: Population,
    effects: Sequence[float] | None,
    replicates: int,
    users: int | None,
    seed: int,
    step: Step,
) -> Report:
    """Power, expected and planned sample of each rule at each effect. Raises BadRequest, ConfigError."""
    policy = policies(settings).experiment
    count = users or subjects(population, policy, PLANS)
    spread = pilot(population, policy, np.random.default_rng(seed))
    visible = {rule: smallest(population, spread, replace(policy, rule=rule)) for rule in Rule}
    asked = sorted(effects or [each for each in EFFECTS if population.liked + each < 1])
    wanted = sorted({*asked, *(effect for effect in visible.values() if population.liked + effect < 1)})
    _check(population, wanted)
    seen = []
    for number, effect in enumerate(wanted):
        step(f"effect: {effect:+.3f}", number / len(wanted))
        seen.append(at(effect, population, policy, (replicates, count), np.random.default_rng([seed, number])))
    return Report(
        "power",
        QUESTION,
        [*_figures(seen, spread, policy), *_plan(seen, visible, policy), *_history(population, policy, seed)],
        _panels(seen),
        tuple(_says(asked, visible[policy.rule], spread, population, policy)),
        used(policy),
        {**options(population, replicates, count, seed), "effects": wanted},
    )


def _check(population: Population, effects: Sequence[float]) -> None:
    if population.liked + max(effects) >= 1:
        raise BadRequest(
            f"--effect {max(effects):g} on top of --liked {population.liked:g} is more than every answer liked; "
            "take a smaller one."
        )


def pilot(population: Population, policy: ExperimentPolicy, rng: np.random.Generator) -> float:
    """The variance that one rated subject contributes, from subjects of equal arms."""
    found = looks.after_each(cohort(World.PLAIN, population, 0.0, PILOT, rng), policy)
    return float(found.spread[:, -1].mean())


def smallest(population: Population, spread: float, policy: ExperimentPolicy) -> float:
    """The effect that the planned number of rated subjects is enough for, to a thousandth."""
    a_tenth = superiority.planned(population.metric(0.1), spread, policy, WANTED)
    return round(0.1 * sqrt(a_tenth / policy.planned), 3)


def at(
    effect: float, population: Population, policy: ExperimentPolicy, shape: tuple[int, int], rng: np.random.Generator
) -> Seen:
    """All rules on the same subjects."""
    replicates, users = shape
    size = max(1, CELLS // users)
    better: dict[str, list[Numbers]] = {}
    ended: dict[str, list[Numbers]] = {}
    for done in range(0, replicates, size):
        arrivals = cohort(World.PLAIN, population, effect, (min(size, replicates - done), users), rng)
        found = looks.after_each(arrivals, policy)
        for name, (verdicts, last) in _rules(found, policy).items():
            better.setdefault(name, []).append((verdicts[:, -1] == 1).astype(float))
            ended.setdefault(name, []).append(_ended(verdicts, found.n, last))
    joined = ({name: np.concatenate(parts) for name, parts in each.items()} for each in (better, ended))
    return Seen(effect, population.metric(effect), *joined)


def _rules(found: Difference, policy: ExperimentPolicy) -> dict[str, tuple[Verdicts, float]]:
    """The verdicts of each rule, and the rated subjects after which it ends without one."""
    last = float(found.n[:, -1].min())
    plan = min(float(policy.planned), last)
    once = replace(found, margin=np.where(found.n == plan, found.margin, np.inf))
    return {
        Rule.ANYTIME: (looks.verdicts(found, Rule.ANYTIME, policy), last),
        Rule.GROUP_SEQUENTIAL: (looks.verdicts(found, Rule.GROUP_SEQUENTIAL, policy), plan),
        ONCE: (looks.peeked(once), plan),
    }


def _ended(verdicts: Verdicts, information: Numbers, last: float) -> Numbers:
    """The rated subjects at the verdict, or at the end where there was none."""
    decided = verdicts != 0
    at = np.take_along_axis(information, decided.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(decided.any(axis=1), at, last)


def _figures(seen: Sequence[Seen], spread: float, policy: ExperimentPolicy) -> Iterator[Figure]:
    for rule in (*Rule, ONCE):
        for each in seen:
            yield share(f"{rule}: called better", each.name, each.better[rule], thumb=rule == ONCE)
    for rule in Rule:
        for each in seen:
            yield mean(f"{rule}: rated subjects until it ends", each.name, each.ended[rule])
    for each in seen:
        yield Figure(NEEDED, each.name, superiority.planned(each.metric, spread, policy, WANTED), Unit.COUNT)


def _plan(seen: Sequence[Seen], visible: Mapping[Rule, float], policy: ExperimentPolicy) -> Iterator[Figure]:
    """What the rules cost beside a test with one look, at most and at the effect that their plan is made for."""
    for rule, effect in visible.items():
        yield Figure(PLAN, f"{rule}: rise of the share liked", effect, Unit.SHARE)
    for rule, effect in visible.items():
        budget = superiority.budget(replace(policy, rule=rule), WANTED)
        yield Figure(BUDGET, f"{rule}: at most", budget, Unit.NUMBER)
        for each in seen:
            if each.effect == effect:
                yield mean(BUDGET, f"{rule}: on average", each.ended[rule] / (policy.planned / budget), Unit.NUMBER)


def _history(population: Population, policy: ExperimentPolicy, seed: int) -> Iterator[Figure]:
    """What taking out the past spares, where every subject has one."""
    for earlier in EARLIER:
        now, before = known(population, KNOWN, earlier, np.random.default_rng(seed))
        column = Column(now.challenger[0], now.share, now.value[0], now.rated[0], before.value[0])
        _, adjustment = column.differ_adjusted(policy, policy.minimum, FLOOR_OF_NET)
        if adjustment:
            name = f"a past of {earlier * population.answers:g} answers each"
            yield Figure(HISTORY, name, adjustment.reduction, Unit.SHARE)


def _panels(seen: Sequence[Seen]) -> Sequence[Panel]:
    points = [100 * each.effect for each in seen]

    def power(rule: str) -> Curve:
        return Curve(rule, points, [float(each.better[rule].mean()) for each in seen], rule_of_thumb=rule == ONCE)

    def sample(rule: str) -> Curve:
        return Curve(rule, points, [float(each.ended[rule].mean()) for each in seen])

    return (
        Panel(
            "How often it is seen",
            POINTS,
            "called better",
            [*map(power, (*Rule, ONCE))],
            level=WANTED,
            level_name="planned for",
        ),
        Panel("When it ends", POINTS, f"rated subjects, of {PLANS} plans at most", [*map(sample, Rule)], shares=False),
    )


def _says(
    effects: Sequence[float], visible: float, spread: float, population: Population, policy: ExperimentPolicy
) -> Iterator[str]:
    plan = f"Your plan of {policy.planned:,} rated subjects ({policy.rule})"
    if population.liked + visible < 1:
        yield f"{plan} is made for {visible * 100:+.1f} points: with them it sees that in {WANTED:.0%} of the cases."
    else:
        yield f"{plan} is too small for any rise above {population.liked:.0%} to be seen in {WANTED:.0%} of the cases."
    for effect in effects:
        needed = superiority.planned(population.metric(effect), spread, policy, WANTED)
        yield f"With your settings you need about {rounded(needed):,} rated subjects to see {effect * 100:+g} points."


def rounded(number: int) -> int:
    """To two digits: more would claim to know the future."""
    return round(number, 2 - len(str(number)))
