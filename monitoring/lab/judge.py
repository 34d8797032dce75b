"""`hone lab judge`: a judge compares equal answers, or better ones, and leans on their place. What follows?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.decoys import COMMON
from core.settings import Settings
from core.stats import wilson
from monitoring.lab.figures import Curve, Figure, Panel, Report, Unit, mean, share
from monitoring.lab.progress import Step
from monitoring.lab.traffic import Flags
from monitoring.policy import GatePolicy, policies
from monitoring.shadow.controls import tried
from monitoring.shadow.judge import Choice, Findings, Judged, ballot, examine

QUESTION = "A judge compares pairs of answers, and may lean on their place. When is a candidate called better?"
LEANS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Share of the pairs in which the judge names the answer shown first, whatever it says."""
BETTER = 0.7
"""Share of the pairs that the better candidate of the last world truly wins."""
SURE = 0.9
"""How often the judge names the winner where it does not lean."""
DECOYS = 60
FOOLED = 0.02
ONCE = "one order, the champion shown second: called better or worse"
BOTH = "both orders, as the gate reads them: called better or worse"
CONSISTENT = "winners that are the same in both orders"
HEARD = "the judge is found usable"
FOUND = "a candidate that wins {share:.0%} of the pairs: called better"


@dataclass(frozen=True, slots=True)
class World:
    """A judge and a candidate: the lean, and the share of the pairs that the candidate truly wins."""

    lean: float
    wins: float = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """One run: what a single order would claim, and what the gate makes of both."""

    once: int
    both: Findings

    @property
    def claimed(self) -> int:
        """-1, 0 or 1 of a judge that is heard."""
        paired = self.both.paired
        if not self.both.usable or paired is None:
            return 0
        return int(paired.interval.low > 0) - int(paired.interval.high < 0)


def simulate(settings: Settings, pairs: int, replicates: int, seed: int, step: Step) -> Report:
    """What is claimed of equal answers for each lean, and of a better candidate. Raises ConfigError."""
    policy = policies(settings).gate
    worlds = [*(World(lean) for lean in LEANS), World(0.0, BETTER)]
    seen: dict[World, list[Seen]] = {}
    for number, world in enumerate(worlds):
        rng = np.random.default_rng([seed, number])
        for done in range(replicates):
            step(f"leans in {world.lean:.0%} of the pairs", (number + done / replicates) / len(worlds))
            seen.setdefault(world, []).append(_run(world, pairs, policy, rng))
    figures = list(_figures(seen, policy))
    return Report(
        "judge",
        QUESTION,
        figures,
        (_panel(seen, policy),),
        tuple(_says(figures)),
        {"gate.alpha": policy.alpha, "judge.min_decisive": policy.min_decisive},
        {"replicates": replicates, "pairs": pairs, "seed": seed, "sure": SURE, "better": BETTER},
    )


def _run(world: World, pairs: int, policy: GatePolicy, rng: np.random.Generator) -> Seen:
    won = rng.random(pairs) < world.wins
    # The candidate is shown first in the one order, second in the other.
    forward, backward = (_named_first(world, won == first, rng) for first in (False, True))
    ballots = [ballot(_choice(a), _choice(b)) for a, b in zip(forward, backward, strict=True)]
    judged = [Judged(str(place), each) for place, each in enumerate(ballots)]
    decoys = tried(COMMON, np.where(rng.random(DECOYS) < FOOLED, 1.0, -1.0).tolist(), policy)
    single = wilson(int(backward.sum()), pairs, 1 - policy.alpha)
    once = int(single.low > 0.5) - int(single.high < 0.5)
    return Seen(once, examine("lab", judged, (), [decoys], policy))


def _named_first(world: World, first_better: Flags, rng: np.random.Generator) -> Flags:
    """Whether the judge names the answer shown first."""
    n = len(first_better)
    sees = np.where(rng.random(n) < SURE, first_better, ~first_better)
    return np.where(rng.random(n) < world.lean, True, sees)


def _choice(first: bool) -> Choice:
    return Choice.FIRST if first else Choice.SECOND


def _figures(seen: dict[World, list[Seen]], policy: GatePolicy) -> Iterator[Figure]:
    equal = {world: runs for world, runs in seen.items() if world.wins == 0.5}
    for world, runs in equal.items():
        yield share(ONCE, _name(world), [run.once != 0 for run in runs], thumb=True)
    for world, runs in equal.items():
        yield share(BOTH, _name(world), [run.claimed != 0 for run in runs], at_most=policy.alpha)
    for world, runs in equal.items():
        yield share(HEARD, _name(world), [run.both.usable for run in runs])
    for world, runs in equal.items():
        yield mean(CONSISTENT, _name(world), [run.both.consistency or 0.0 for run in runs], Unit.SHARE)
    for world, runs in seen.items():
        if world.wins != 0.5:
            yield share(FOUND.format(share=world.wins), _name(world), [run.claimed == 1 for run in runs])


def _name(world: World) -> str:
    return f"leans in {world.lean:.0%} of the pairs"


def _panel(seen: dict[World, list[Seen]], policy: GatePolicy) -> Panel:
    leans = [100 * world.lean for world in seen if world.wins == 0.5]
    equal = [runs for world, runs in seen.items() if world.wins == 0.5]

    def curve(name: str, hits: Sequence[Sequence[bool]], thumb: bool = False) -> Curve:
        return Curve(name, leans, [float(np.mean(each)) for each in hits], rule_of_thumb=thumb)

    return Panel(
        "Equal answers, a judge that leans",
        "pairs in which the answer shown first wins unread, of 100",
        "runs",
        (
            curve(
                "both orders, as the gate reads them: a claim", [[run.claimed != 0 for run in runs] for runs in equal]
            ),
            curve("the judge is found usable", [[run.both.usable for run in runs] for runs in equal]),
            curve("one order: a claim", [[run.once != 0 for run in runs] for runs in equal], thumb=True),
        ),
        level=policy.alpha,
    )


def _says(figures: Sequence[Figure]) -> Iterator[str]:
    once = max((f for f in figures if f.group == ONCE), key=lambda f: f.value or 0.0)
    both = max((f for f in figures if f.group == BOTH), key=lambda f: f.value or 0.0)
    yield (
        f"Asked in one order, a judge that {once.name} calls equal answers different in {once.value:.0%} of the runs; "
        f"asked in both, and heard only within its bounds, in {both.value:.1%} at the most."
    )
