"""See what your thresholds mean, on simulated traffic.

Local and by itself: it reads the settings and runs the decisions that they rule on traffic whose truth is known. It
touches no ledger and needs no running Hone.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core import config

if TYPE_CHECKING:
    from monitoring.lab.figures import Report
    from monitoring.lab.progress import Step

app = typer.Typer(help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: every figure, and the settings behind it.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw it into this file, .svg or .png.")]
OnlyPanel = Annotated[int, typer.Option("--panel", min=0, help="Draw only this part of the plot; 0: all of them.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same figures.")]
Replicates = Annotated[int, typer.Option("--replicates", min=20, max=100_000, help="Simulated runs a figure.")]
Users = Annotated[
    int | None, typer.Option("--users", min=200, max=100_000, help="Subjects of a run; default: by the settings.")
]
RatingRate = Annotated[
    float, typer.Option("--rating-rate", min=0.005, max=1, help="Chance that an answer is rated if it was asked for.")
]
Liked = Annotated[float, typer.Option("--liked", min=0.05, max=0.95, help="Share of the answers that are liked.")]


@app.callback()
def _options() -> None:
    """See what your thresholds mean, on simulated traffic."""


@app.command()
def aa(
    replicates: Replicates = 1000,
    users: Users = None,
    rating_rate: RatingRate = 0.3,
    liked: Liked = 0.7,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """How often a candidate that is no better would be promoted, with a look at every subject."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import aa
        from monitoring.lab.traffic import Population

        settings = config.load()
        population = Population.of(settings, rating_rate, liked)
        return aa.simulate(settings, population, replicates, users, seed, step)

    _present("aa", simulate, plot, panel, as_json)


@app.command()
def power(
    effect: Annotated[
        list[float] | None,
        typer.Option("--effect", min=0.005, max=0.5, help="Rise of the share that is liked; may be given again."),
    ] = None,
    replicates: Replicates = 500,
    users: Users = None,
    rating_rate: RatingRate = 0.3,
    liked: Liked = 0.7,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """How often a better candidate is seen to be better, and how many subjects that takes."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import power
        from monitoring.lab.traffic import Population

        settings = config.load()
        population = Population.of(settings, rating_rate, liked)
        return power.simulate(settings, population, effect, replicates, users, seed, step)

    _present("power", simulate, plot, panel, as_json)


@app.command()
def drift(
    effect: Annotated[
        list[float] | None,
        typer.Option("--effect", min=0.05, max=5, help="Shift in standard deviations; may be given again."),
    ] = None,
    replicates: Replicates = 200,
    turns: Annotated[
        int | None,
        typer.Option("--turns", min=500, max=200_000, help="Quiet turns that each run is watched; default: 10,000."),
    ] = None,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """How often quiet traffic alarms, and how long a change stays unseen."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import drift

        return drift.simulate(config.load(), effect or drift.SHIFTS, replicates, turns or drift.TURNS, seed, step)

    _present("drift", simulate, plot, panel, as_json)


@app.command()
def calibration(
    effect: Annotated[
        float, typer.Option("--effect", min=0.01, max=0.5, help="How far confidence is off, as a share.")
    ] = 0.1,
    replicates: Replicates = 500,
    turns: Annotated[
        int, typer.Option("--turns", min=200, max=20_000, help="Rated answers that each run is watched.")
    ] = 2000,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """How often a calibrated model alarms, and how soon one is found that is not."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import calibration

        return calibration.simulate(config.load(), effect, replicates, turns, seed, step)

    _present("calibration", simulate, plot, panel, as_json)


@app.command()
def bias(
    effect: Annotated[
        float,
        typer.Option("--effect", min=1, max=100, help="How many times likelier a disliked answer is to be rated."),
    ] = 5.0,
    replicates: Replicates = 300,
    turns: Annotated[int, typer.Option("--turns", min=200, max=200_000, help="Answers of a run.")] = 5000,
    rating_rate: RatingRate = 0.05,
    liked: Liked = 0.66,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """What ratings say of quality when people choose what they rate."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import bias

        habits = bias.Habits(liked, rating_rate, effect, turns)
        return bias.simulate(config.load(), habits, replicates, seed, step)

    _present("bias", simulate, plot, panel, as_json)


@app.command()
def judge(
    replicates: Replicates = 200,
    pairs: Annotated[int, typer.Option("--pairs", min=50, max=5000, help="Pairs of answers in a run.")] = 400,
    seed: Seed = 0,
    plot: Plot = None,
    panel: OnlyPanel = 0,
    as_json: AsJson = False,
) -> None:
    """What follows when a judge leans on the place of an answer."""

    def simulate(step: "Step") -> "Report":
        from monitoring.lab import judge

        return judge.simulate(config.load(), pairs, replicates, seed, step)

    _present("judge", simulate, plot, panel, as_json)


def _present(command: str, simulate: "Callable[[Step], Report]", plot: Path | None, panel: int, as_json: bool) -> None:
    from monitoring.lab import picture, plots
    from monitoring.lab.figures import to_json
    from monitoring.lab.progress import progress

    if plot:
        plots.check(plot)
    begun = time.monotonic()
    with progress(command) as step:
        report = simulate(step)
    seconds = time.monotonic() - begun
    if plot:
        plots.write(report, plot, panel)
    if as_json:
        document = to_json(report, seconds)
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
    else:
        picture.show(report)
    typer.echo(f"hone: {seconds:.1f} s{f'; drawn into {plot}' if plot else ''}", err=True)
