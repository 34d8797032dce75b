"""Whether a run may start: enough to learn from, room in memory and on the disk, and a base to train.

Training and serving share a machine: a trainer that has no room takes it from the engine. Raises SetupError with the
cause and the next step. What a run takes is estimated from the sizes of the base's layers.
"""

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import SetupError
from serving.adapters import linear_layers
from serving.base import Base
from serving.model_files import shapes
from training.material import Count, Least
from training.recipes import Recipe
from training.rows import Exclusion, Method

GIB = 2**30
RUNTIME = 800 * 2**20
"""Bytes of a trainer before it has loaded a model: Python, torch and TRL."""
COPIES = 1.5
"""The base in fp32, and what of it is held twice while it is read."""
KEPT, SAID = 3, 4
"""Numbers that are kept of each token for the way back: these many times what all adapted layers take in and give out,
and what is said of the vocabulary."""
RECOMPUTED = 0.25
"""The share of them that is kept when they are computed twice."""
SEQUENCES = {Method.SFT: 1, Method.KTO: 2, Method.DPO: 2}
"""Sequences that one row makes at a time."""
CHARACTERS, MARKS = 2, 32
"""Characters of a token, at least, and tokens that the template puts around a row."""
STATES = 8
"""Adapters on the disk: two checkpoints with two moments of the optimiser each, a third one half written, the result
and its copy among the artifacts."""
SLACK = 256 * 2**20
"""Bytes that stay free on the disk beside what a run writes: the ledger is there too."""
FP32 = 4
UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of memory and of disk that a run needs, or that are free."""

    memory: int
    disk: int


def check_rows(count: Count, least: Least, excluded: Sequence[Exclusion]) -> None:
    """Refuse a run that has too little to learn from."""
    if least.met(count):
        return
    setting = "min_rows" if count.rows < least.rows else "min_topics"
    says = f"{least.compare(count)}; gather more ratings, or lower training.{setting}."
    if excluded:
        reason, number = Counter(one.reason for one in excluded).most_common(1)[0]
        says += f" {len(excluded)} more were left out, {number} of them for this: {reason.sentence}"
    raise SetupError(says)


def check_rank(recipe: Recipe, max_rank: int) -> None:
    """Refuse an adapter that the engine would not take."""
    if recipe.rank > max_rank:
        raise SetupError(
            f"recipe.rank is {recipe.rank}, and the engine takes ranks up to {max_rank}; "
            "ask for a run with a smaller one, or raise engine.max_lora_rank."
        )


def check_room(needed: Room, free: Room) -> None:
    """Refuse a run that would take memory from the engine, or fill the disk that the ledger is on."""
    if needed.memory > free.memory:
        raise SetupError(
            f"The run needs about {_gib(needed.memory)} of memory, and {_gib(free.memory)} are free; end other "
            "programs, ask for a run with a larger recipe.accumulation or a smaller recipe.max_length, or set "
            "training.memory_gib if you know better."
        )
    if needed.disk > free.disk:
        raise SetupError(
            f"The run needs {_gib(needed.disk)} on the disk of the data folder, and {_gib(free.disk)} are free; "
            "make room, or lower training.keep_runs."
        )


def needs(base: Base, recipe: Recipe, longest: int, memory_gib: float = 0) -> Room:
    """What a run takes whose longest row has so many characters; `memory_gib` overrides the estimate unless it is 0."""
    layers = sum(map(sum, linear_layers(base).values()))
    weights = round(COPIES * FP32 * parameters(base))
    memory = RUNTIME + weights + _tokens(recipe, longest) * _bytes_per_token(base, recipe, layers)
    return Room(round(memory_gib * GIB) or memory, SLACK + STATES * FP32 * recipe.rank * layers)


def parameters(base: Base) -> int:
    """The number of weights of a base."""
    return sum(math.prod(shape) for _, shape in shapes(base.folder))


def free(folder: Path, proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> Room:
    """What is free for a new process, within the limit of its container, and on the disk of `folder`."""
    memory = min(_available(proc), _within(group))
    return Room(memory, shutil.disk_usage(folder).free)


def _tokens(recipe: Recipe, longest: int) -> int:
    """The tokens that are computed at once, at most."""
    length = min(recipe.max_length, longest // CHARACTERS + MARKS)
    return recipe.batch_rows // recipe.accumulation * SEQUENCES[recipe.method] * length


def _bytes_per_token(base: Base, recipe: Recipe, layers: int) -> int:
    vocabulary = max(shape[0] for _, shape in shapes(base.folder))
    kept = KEPT * (RECOMPUTED if recipe.recompute else 1) * layers
    return round(FP32 * (kept + SAID * vocabulary))


def _available(proc: Path) -> int:
    """Free memory and what the kernel can give back, where it says so; others do without this check."""
    found = _table(proc).get("MemAvailable:")
    return found * 1024 if found is not None else UNLIMITED


def _within(group: Path) -> int:
    """What is left of a container's memory; files that are only cached do not count as used."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except OSError:
        return UNLIMITED
    if limit == "max":
        return UNLIMITED
    return int(limit) - used + _table(group / "memory.stat").get("inactive_file", 0)


def _table(path: Path) -> Mapping[str, int]:
    """A file of names and numbers."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1}


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
