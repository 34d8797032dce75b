"""Rebuilds hone-tiny and everything made with it: `python -m training.tiny [build|evaluate|adapt|examples|card]`.

Without a subcommand it does all of them in order. Progress goes to stderr, results to stdout;
the exit status is 1 when a figure misses its bar.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from core.errors import HoneError

from .adapt import RECIPE as ADAPTING
from .adapt import Outcome, adapt, novel_facts, shifted_facts
from .card import Shape, model_card
from .conversation import conversations, load_desk
from .evaluate import Figure, evaluate, exams
from .examples import example_rows, old_skill_rows, write_rows
from .harbour import harbour_rows
from .model import load_model, new_model, parameter_count, save_model
from .tokenizer import build_tokenizer
from .train import Progress, Recipe, batches_of, train

RECIPE = Recipe()
ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "serving" / "hone_tiny"
TRAFFIC = ROOT / "examples" / "helpdesk.jsonl"
HARBOUR = "harbour.jsonl"

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
ModelFolder = Annotated[Path, typer.Option("--model", help="The folder of the model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Steps = Annotated[int, typer.Option(min=10, help="Training steps.")]


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Rebuild all, when no subcommand is named."""
    if context.invoked_subcommand is None:
        build()
        examples()
        card()


@app.command()
def build(folder: ModelFolder = SHIPPED, steps: Steps = RECIPE.steps) -> None:
    """Make the tokenizer and train the model."""
    desk, recipe = load_desk(), replace(RECIPE, steps=steps)
    tokenizer = build_tokenizer(desk)
    model = new_model(tokenizer, recipe.seed)
    print(f"hone-tiny: {parameter_count(model):,} parameters, {len(tokenizer):,} tokens", file=sys.stderr)
    rows = conversations(desk, recipe.seed)
    train(model, batches_of(rows, tokenizer, recipe.rows, recipe.seed), recipe, _report)
    save_model(model, tokenizer, folder)
    print(folder)


@app.command("evaluate")
def examine(folder: ModelFolder = SHIPPED, as_json: AsJson = False) -> None:
    """Measure what the model can do."""
    figures = evaluate(*load_model(folder), exams(load_desk()))
    print(json.dumps([asdict(figure) for figure in figures]) if as_json else _lines(figures))
    exit_if_missed(figures)


@app.command("adapt")
def learn(folder: ModelFolder = SHIPPED, as_json: AsJson = False, steps: Steps = ADAPTING.steps) -> None:
    """Measure what a LoRA adapter on the model can learn."""
    outcomes = _outcomes(folder, steps)
    print(json.dumps([asdict(outcome) for outcome in outcomes]) if as_json else _lines(outcomes))
    exit_if_missed(_figures(outcomes))


@app.command()
def examples(
    folder: ModelFolder = SHIPPED,
    path: Annotated[Path, typer.Option("--out", help="The file of the example traffic.")] = TRAFFIC,
) -> None:
    """Write the example traffic, and the frozen questions beside the model."""
    desk = load_desk()
    files = {
        path: example_rows(desk),
        path.with_name(HARBOUR): harbour_rows(desk),
        folder / "oldskills.jsonl": old_skill_rows(desk),
    }
    for target, rows in files.items():
        write_rows(rows, target)
        print(f"{target}: {len(rows)} rows")


@app.command()
def card(folder: ModelFolder = SHIPPED) -> None:
    """Measure everything and write the model card."""
    desk, (model, tokenizer) = load_desk(), load_model(folder)
    shape = Shape(parameter_count(model), len(tokenizer), model.config.max_position_embeddings)
    figures, outcomes = evaluate(model, tokenizer, exams(desk)), _outcomes(folder, ADAPTING.steps)
    text = model_card(desk, shape, RECIPE, figures, outcomes)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)
    exit_if_missed((*figures, *_figures(outcomes)))


def exit_if_missed(figures: Iterable[Figure]) -> None:
    """End with status 1 and the names, when a figure is below its bar."""
    if missed := [figure.name for figure in figures if not figure.met]:
        print(f"below the bar: {', '.join(missed)}", file=sys.stderr)
        raise typer.Exit(1)


def _outcomes(folder: Path, steps: int) -> tuple[Outcome, ...]:
    desk, recipe = load_desk(), replace(ADAPTING, steps=steps)
    return tuple(adapt(desk, folder, facts(desk), recipe, _report) for facts in (shifted_facts, novel_facts))


def _figures(outcomes: Iterable[Outcome]) -> tuple[Figure, ...]:
    return tuple(figure for outcome in outcomes for figure in outcome.figures)


def _lines(results: Iterable[Figure | Outcome]) -> str:
    return "\n".join(map(str, results))


def _report(progress: Progress) -> None:
    print(progress, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        app()
    except HoneError as error:
        print(f"hone-tiny: {error.message}", file=sys.stderr)
        sys.exit(1)
