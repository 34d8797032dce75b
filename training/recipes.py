"""Recipes: how a model is trained, as complete records chosen from its size and the number of rows. Pure.

`sft`, `kto` and `dpo` decide everything; a person may change single fields with `override`, within stated bounds.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from core.errors import BadRequest
from core.types import Json, JsonObject
from serving.adapters import LINEAR
from training.rows import Example, KtoExample, Method

TINY, HUGE = 20_000_000, 1_000_000_000
"""Parameters below which a model learns like hone-tiny, and from which memory is dearer than time."""
CONTEXT = 2048
"""Tokens of a row, unless the engine takes fewer; longer rows are left out."""
BALANCE = 1.15
"""KTO: weight of all liked answers over that of all others; the authors of the method advise 1 to 4/3."""


class Schedule(StrEnum):
    """How the learning rate goes on after the warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant_with_warmup"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training but the data and the model."""

    method: Method
    rank: int
    alpha: int
    dropout: float
    target_modules: tuple[str, ...]
    """The kinds of linear layers that are adapted, where the model has them."""
    learning_rate: float
    schedule: Schedule
    warmup: float
    """Share of the steps in which the learning rate rises."""
    steps: int
    batch_rows: int
    """Rows of one step."""
    accumulation: int
    """Parts in which a step is computed, one after the other; it divides batch_rows."""
    max_length: int
    """Tokens of a row, prompt and answer together; longer rows are left out."""
    weight_decay: float
    seed: int
    checkpoint_every: int
    """Steps."""
    recompute: bool
    """Whether activations are computed twice instead of kept: slower, in less memory."""
    replay_share: float = 0.5
    """Share of the draws that repeat older answers, where there are so many."""
    beta: float = 0.1
    """KTO and DPO: how much it costs to move away from the model before."""
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    """KTO: what a liked and a disliked answer weigh."""

    def to_json(self) -> JsonObject:
        return {**asdict(self), "target_modules": list(self.target_modules)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a field."""

    least: float
    most: float


BOUNDS: Mapping[str, Bounds] = {
    "rank": Bounds(1, 512),
    "alpha": Bounds(1, 2048),
    "dropout": Bounds(0, 0.9),
    "learning_rate": Bounds(1e-8, 0.1),
    "warmup": Bounds(0, 0.9),
    "steps": Bounds(1, 1_000_000),
    "batch_rows": Bounds(1, 4096),
    "accumulation": Bounds(1, 4096),
    "max_length": Bounds(8, 1_000_000),
    "weight_decay": Bounds(0, 1),
    "seed": Bounds(0, 2**32 - 1),
    "checkpoint_every": Bounds(1, 1_000_000),
    "replay_share": Bounds(0, 0.99),
    "beta": Bounds(0.001, 10),
    "desirable_weight": Bounds(0.001, 1000),
    "undesirable_weight": Bounds(0.001, 1000),
}
WHOLE = frozenset(
    {"rank", "alpha", "steps", "batch_rows", "accumulation", "max_length", "seed", "checkpoint_every"},
)
NAMES = tuple(field.name for field in fields(Recipe))


def sft(parameters: int, rows: int, max_rank: int) -> Recipe:
    """A recipe for imitating answers: `parameters` of the base, `rows` to learn from, the engine's largest rank."""
    if parameters < TINY:
        return _tiny(Method.SFT, max_rank, rows, learning_rate=6e-3, steps=300)
    return _large(Method.SFT, max_rank, rows, parameters, learning_rate=2e-4, epochs=3)


def kto(parameters: int, liked: int, disliked: int, max_rank: int) -> Recipe:
    """A recipe for thumbs: like `sft`, with the numbers of liked and of disliked answers, whose weights it evens out.

    Raises BadRequest when there is only one kind.
    """
    if not (liked and disliked):
        kind = "disliked" if liked else "liked"
        raise BadRequest(f"KTO needs liked and disliked answers, and no {kind} one is there; wait, or use sft.")
    if parameters < TINY:
        recipe = _tiny(Method.KTO, max_rank, liked + disliked, learning_rate=2e-3, steps=150)
    else:
        recipe = _large(Method.KTO, max_rank, liked + disliked, parameters, learning_rate=2e-5, epochs=2)
    desirable, undesirable = balance(liked, disliked)
    return replace(recipe, desirable_weight=desirable, undesirable_weight=undesirable)


def dpo(parameters: int, rows: int, max_rank: int) -> Recipe:
    """A recipe for pairs of a better and a worse answer; the arguments are those of `sft`."""
    if parameters < TINY:
        return _tiny(Method.DPO, max_rank, rows, learning_rate=2e-3, steps=150)
    return _large(Method.DPO, max_rank, rows, parameters, learning_rate=2e-5, epochs=2)


def choose(method: Method, parameters: int, examples: Sequence[Example], max_rank: int) -> Recipe:
    """The recipe of a method for these examples of its kind. Raises BadRequest for one-sided KTO data."""
    match method:
        case Method.SFT:
            return sft(parameters, len(examples), max_rank)
        case Method.KTO:
            liked = sum(isinstance(example, KtoExample) and example.label for example in examples)
            return kto(parameters, liked, len(examples) - liked, max_rank)
        case Method.DPO:
            return dpo(parameters, len(examples), max_rank)


def balance(liked: int, disliked: int) -> tuple[float, float]:
    """The weights of a liked and of a disliked answer: the rarer kind weighs more."""
    if liked == disliked:
        return 1.0, 1.0
    if liked < disliked:
        return round(BALANCE * disliked / liked, 4), 1.0
    return 1.0, round(liked / disliked / BALANCE, 4)


def override(recipe: Recipe, changes: JsonObject) -> Recipe:
    """The recipe with some fields changed. Raises BadRequest for a field or a value that cannot be."""
    if changes.get("method", recipe.method) != recipe.method:
        raise BadRequest("recipe.method cannot be changed; ask for the run with another method.", param="recipe.method")
    return from_json({**recipe.to_json(), **changes})


def from_json(found: JsonObject) -> Recipe:
    """A recipe from its JSON form. Raises BadRequest for a field or a value that cannot be."""
    for name in found:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
            raise BadRequest(f"recipe.{name} is unknown; the nearest known field is {near}.", param=f"recipe.{name}")
    if missing := [name for name in NAMES if name not in found]:
        raise BadRequest(f"The recipe lacks {', '.join(missing)}.", param="recipe")
    number = {name: _number(name, found[name]) for name in BOUNDS}
    whole = {name: int(number[name]) for name in WHOLE}
    if whole["batch_rows"] % whole["accumulation"]:
        raise _refused("accumulation", found["accumulation"], f"a divisor of batch_rows ({whole['batch_rows']})")
    if found["method"] == Method.KTO and whole["batch_rows"] == whole["accumulation"]:
        raise _refused(
            "accumulation", found["accumulation"], "smaller: KTO compares the rows of a part with each other"
        )
    return Recipe(
        method=Method(_word("method", found["method"], Method)),
        rank=whole["rank"],
        alpha=whole["alpha"],
        dropout=number["dropout"],
        target_modules=_modules(found["target_modules"]),
        learning_rate=number["learning_rate"],
        schedule=Schedule(_word("schedule", found["schedule"], Schedule)),
        warmup=number["warmup"],
        steps=whole["steps"],
        batch_rows=whole["batch_rows"],
        accumulation=whole["accumulation"],
        max_length=whole["max_length"],
        weight_decay=number["weight_decay"],
        seed=whole["seed"],
        checkpoint_every=whole["checkpoint_every"],
        recompute=_flag("recompute", found["recompute"]),
        replay_share=number["replay_share"],
        beta=number["beta"],
        desirable_weight=number["desirable_weight"],
        undesirable_weight=number["undesirable_weight"],
    )


def _tiny(method: Method, max_rank: int, rows: int, *, learning_rate: float, steps: int) -> Recipe:
    rank = min(16, max_rank)
    return Recipe(
        method=method,
        rank=rank,
        alpha=2 * rank,
        dropout=0.0,
        target_modules=LINEAR,
        learning_rate=learning_rate,
        schedule=Schedule.COSINE,
        warmup=0.1,
        steps=steps,
        batch_rows=_batch(rows, 32),
        accumulation=1,
        max_length=CONTEXT,
        weight_decay=0.0,
        seed=1,
        checkpoint_every=50,
        recompute=False,
    )


def _large(method: Method, max_rank: int, rows: int, parameters: int, *, learning_rate: float, epochs: float) -> Recipe:
    rank = min(16, max_rank)
    batch = _batch(rows, 16)
    steps = max(10, math.ceil(epochs * rows / batch))
    huge = parameters >= HUGE
    return Recipe(
        method=method,
        rank=rank,
        alpha=2 * rank,
        dropout=0.0,
        target_modules=LINEAR,
        learning_rate=learning_rate,
        schedule=Schedule.COSINE,
        warmup=0.05,
        steps=steps,
        batch_rows=batch,
        # KTO compares the rows of a part with each other, so that one must hold several.
        accumulation=batch // 4 if huge and batch % 4 == 0 else 1,
        max_length=CONTEXT,
        weight_decay=0.0,
        seed=1,
        checkpoint_every=max(10, min(100, steps // 10)),
        recompute=huge,
    )


def _batch(rows: int, most: int) -> int:
    """Rows of a step: a power of two, at least two, not more than there are."""
    return min(most, 1 << int(math.log2(max(2, rows))))


def _number(name: str, value: Json) -> float:
    bounds = BOUNDS[name]
    kind = "a whole number" if name in WHOLE else "a number"
    wanted = f"{kind} from {bounds.least:g} to {bounds.most:.10g}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not bounds.least <= value <= bounds.most:
        raise _refused(name, value, wanted)
    if name in WHOLE and value != int(value):
        raise _refused(name, value, wanted)
    return float(value)


def _flag(name: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, value, "true or false")
    return value


def _word(name: str, value: Json, known: Iterable[str]) -> str:
    names = [str(each) for each in known]
    if not isinstance(value, str) or value not in names:
        raise _refused(name, value, f"one of {', '.join(names)}")
    return value


def _modules(value: Json) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise _refused("target_modules", value, f"a list of {', '.join(LINEAR)}")
    return tuple(_word("target_modules", each, LINEAR) for each in value)


def _refused(name: str, value: Json, wanted: str) -> BadRequest:
    return BadRequest(f"recipe.{name} is {value!r:.100}; it must be {wanted}.", param=f"recipe.{name}")
