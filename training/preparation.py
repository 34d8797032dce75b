"""What stands between a claimed run and its trainer: a dataset, a recipe, and the order that names both.

Each is kept as soon as it is made, so that whoever takes the run over goes on with the same; a dataset that lost rows
to an erasure is made again.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from core.config import Settings
from core.datasets import Datasets
from core.errors import BadRequest, Conflict, NotFound, SetupError
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import JsonObject, Run, Version
from serving import setup
from serving.base import BUILT_IN, Base
from training import admission, dataset, folders, material, order, recipes
from training.files import get, put
from training.material import Least
from training.order import Order
from training.practice import practice
from training.recipes import Recipe
from training.rows import DpoExample, Method, Part, Row

AGAIN = 3
"""Times that a dataset is made when answers are erased meanwhile."""
PARENT = "parent.json"
PRACTICE = "practice"
OLD_SKILLS = "oldskills.jsonl"


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order, the base it is for, and the champion that its result will be compared with."""

    order: Order
    base: Base
    parent: Version | None


class Preparation:
    """Makes datasets and orders for the runs of one install."""

    def __init__(self, settings: Settings, store: Store, secret: Secret) -> None:
        self.datasets = Datasets(settings.data / "datasets")
        self.rules = material.rules(settings, secret)
        self.least = Least(settings.training.min_rows, settings.training.min_topics)
        self._settings = settings
        self._store = store

    def method(self, run: Run) -> str:
        """What was asked for, else what the settings say."""
        return self._settings.training.method if run.method == material.AUTO else run.method

    def is_whole(self, digest: str | None) -> bool:
        """Whether a dataset is there, and no row of it was erased."""
        try:
            return digest is not None and bool(self.datasets.rows(digest))
        except (NotFound, Conflict):
            return False

    def curate(self, run: Run, previous: str | None) -> str:
        """Make and keep the dataset of a run; its digest.

        Raises SetupError when there is too little to learn from, BadRequest for a recipe that cannot be.
        """
        chosen = self._settings.training
        replays = {PRACTICE: practice(setup.resolve(self._settings), chosen.replay, chosen.replay_rows)}
        for _ in range(AGAIN):
            gathered = material.gather(self._store, material.window(self._store, self.datasets))
            gathered = replace(gathered, replays=replays)
            curated, count = material.prepare(gathered, self.method(run), self.rules, self.least)
            admission.check_rows(count, self.least, curated.exclusions)
            try:
                return dataset.keep(curated, self.rules, self.datasets, self._store, previous=previous)
            except Conflict:
                continue
        raise SetupError("Answers were erased each time the dataset was made; ask for the run again later.")

    def order(self, run: Run, digest: str) -> Ordered:
        """The order of a run on a dataset: the one that was written before, or a new one.

        Raises SetupError or BadRequest when it cannot be carried out, NotFound and Conflict for a spoiled dataset.
        """
        base = setup.resolve(self._settings)
        folder = folders.place(self._settings, run.id)
        known = _known(folder)
        if known is None or known.dataset_digest != digest:
            folders.clear(folder)
            known = self._write(run, digest, base, folder)
        if known.base_digest != base.digest:
            raise SetupError(f"The base was changed to {base.name} while the run was under way; ask for another run.")
        found: JsonObject = get(folder / PARENT) or {}
        parent = found["version"]
        return Ordered(known, base, Version(parent) if isinstance(parent, str) else None)

    def check(self, ordered: Ordered) -> None:
        """Refuse what has no room on this machine now. Raises SetupError."""
        longest = max(_characters(row) for row in dataset.load(self.datasets, ordered.order.dataset_digest))
        override = self._settings.training.memory_gib
        needed = admission.needs(ordered.base, ordered.order.recipe, longest, override)
        admission.check_room(needed, admission.free(self._settings.data))

    def _write(self, run: Run, digest: str, base: Base, folder: Path) -> Order:
        parent, champion = self._champion()
        made = Order(
            run=run.id,
            recipe=self._recipe(run, digest, base),
            base=base.folder,
            base_digest=base.digest,
            dataset=self.datasets.folder / digest,
            champion=champion,
            old_skills=self._old_skills(base),
            max_rank=self._settings.engine.max_lora_rank,
            max_model_len=self._settings.engine.max_model_len or base.context,
            threads=self._settings.training.threads or len(os.sched_getaffinity(0)),
        )
        put(folder / PARENT, {"version": parent})
        order.write(folder, made)
        return made

    def _recipe(self, run: Run, digest: str, base: Base) -> Recipe:
        rows = dataset.load(self.datasets, digest)
        method = Method(str(self.datasets.manifest(digest)["method"]))
        learned = [row.example for row in rows if row.part is Part.TRAIN]
        max_rank = self._settings.engine.max_lora_rank
        chosen = recipes.choose(method, admission.parameters(base), learned, max_rank)
        shared = {"replay_share": self._settings.training.replay_share}
        recipe = recipes.override(chosen, {**shared, **run.recipe})
        admission.check_rank(recipe, max_rank)
        return recipe

    def _champion(self) -> tuple[Version, Path | None]:
        """The champion and its adapter; version 0 is the base itself and has none to compare with."""
        registry = Registry(self._store)
        plan = registry.plan()
        if plan is None:
            raise SetupError("There is no champion yet; start the engine once, then ask for the run again.")
        artifact = setup.artifacts(self._settings).open(registry.model(plan.champion).digest)
        about = artifact.manifest["about"]
        is_zero = isinstance(about, dict) and about.get("kind") == "zero"
        return plan.champion, None if is_zero else artifact.path

    def _old_skills(self, base: Base) -> Path | None:
        named = self._settings.training.old_skills
        if not named:
            return BUILT_IN / OLD_SKILLS if base.folder == BUILT_IN else None
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise SetupError(f"training.old_skills names {path}, which does not exist; put it there or unset it.")
        return path


def _characters(row: Row) -> int:
    """Of the question, and of the longest answer to it."""
    example = row.example
    answers = (example.chosen, example.rejected) if isinstance(example, DpoExample) else (example.completion,)
    return sum(len(message.content) for message in example.messages) + max(map(len, answers))


def _known(folder: Path) -> Order | None:
    try:
        return order.read(folder)
    except (FileNotFoundError, BadRequest):
        return None
