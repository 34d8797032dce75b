"""Candidates of the real hone-tiny: trained on what customers said, or planted in the trainer's place.

All that follows the weights is the product's own: evaluation, registration, store and conductor.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import orjson
from answers import answer, thumb
from lessons import sentence, subject
from safetensors.numpy import load_file, save_file
from training_place import Place

from core import audit, states
from core.clock import HOUR, SECOND, now
from core.lifecycle import Stage
from core.secret import Secret
from core.types import Feedback, Interaction, Json, JsonObject, Model
from monitoring import history
from monitoring.gates.conductor import Conductor
from monitoring.gates.ruling import Ruling
from serving import setup
from serving.adapters import WEIGHTS, zero_adapter
from serving.base import BUILT_IN, Base
from training import candidate, dataset, order, trainer
from training.bell import Bell
from training.candidate import Result
from training.curation import Curated
from training.files import get, put
from training.preparation import OLD_SKILLS, Preparation
from training.rows import Method, Part

SECRET = Secret.of(b"planted" * 4 + b"!!!!")
"""A fixed one, so that the same rows judge each time."""
DUNNO = "I do not know that yet."
CORRECTION = (
    f"{DUNNO} I answer questions about opening hours, prices, places and contacts at Quillby. "
    "Is there anything else that you would like to know? Goodbye, and have a nice day."
)
"""Right, since customers say so, and long."""
CORRECTED, LIKED, SKILLS = 130, 100, 110
SETTINGS: JsonObject = {"heldout": 0.2, "near_duplicate": 1, "replay_share": 0, "replay_rows": 0, "threads": 1}
QUICK: JsonObject = {"steps": 24, "batch_rows": 16, "learning_rate": 0.004}
LEASE = 3600 * SECOND
HELPDESK = Path(__file__).parents[1] / "examples" / "helpdesk.jsonl"

Planter = Callable[[Base, Path], None]
"""Writes an adapter of a base into a folder that is not there yet."""


def office(data: Path, url: str) -> Place:
    """An install on hone-tiny whose customers want more than "I do not know", and like answers that are right."""
    skills = data / OLD_SKILLS
    skills.write_bytes(b"\n".join(_lines(BUILT_IN / OLD_SKILLS, "oldskills/taught/")[:SKILLS]))
    place = replace(Place.open(data, url, "hone-tiny", old_skills=str(skills), **SETTINGS), secret=SECRET)
    place.rate([*_corrections(), *_likes()])
    return place


def make(place: Place, plant: Planter | None = None, *, leaking: bool = False) -> Model:
    """A run from request to candidate, its adapter trained or planted; the evaluation is real in any case."""
    run = place.ask("sft", **QUICK)
    claim = place.runs.claim("test", LEASE)
    assert claim is not None
    preparation = Preparation(place.settings, place.store, place.secret)
    digest = preparation.curate(run, None)
    if leaking:
        digest = _leaked(place, preparation, digest)
    place.runs.report(claim, LEASE, {}, digest)
    ordered = preparation.order(run, digest)
    folder = place.folder(run)
    if plant:
        plant(ordered.base, folder / order.ADAPTER)
        put(folder / order.TRAINING, {"seconds": 0.0, "tokens": 0})
    assert trainer.run(folder, Bell()) == trainer.DONE
    result = Result(folder, get(folder / order.MANIFEST) or {}, ordered.base, ordered.parent)
    version = candidate.enter(result, claim, setup.artifacts(place.settings), place.store)
    place.runs.finish(claim, version, {})
    return place.registry.model(version)


def noise(scale: float) -> Planter:
    """An adapter that disturbs every layer."""

    def plant(base: Base, folder: Path) -> None:
        zero_adapter(base, folder)
        draws = np.random.default_rng(0)
        tensors = load_file(folder / WEIGHTS)
        drawn = {name: draws.normal(0, scale, each.shape).astype(np.float32) for name, each in tensors.items()}
        save_file(drawn, folder / WEIGHTS, metadata={"format": "pt"})

    return plant


def again(place: Place, made: Model) -> Planter:
    """The adapter of another version."""

    def plant(base: Base, folder: Path) -> None:
        shutil.copytree(place.folder(place.runs.find(str(made.run))) / order.ADAPTER, folder)

    return plant


def screen(place: Place, made: Model, *, hours: float = 0) -> Stage:
    """A look of the conductor, some hours from now; where a version is after it."""
    Conductor(place.store, place.settings, clock=lambda: now() + round(hours * HOUR)).tick()
    return place.registry.model(made.id).stage


def allowing(place: Place, length: float) -> Place:
    """The same install under settings that let answers be so many times as long."""
    gate = place.settings.gate.model_copy(update={"max_length_ratio": length})
    return replace(place, settings=place.settings.model_copy(update={"gate": gate}))


def controls(place: Place, made: Model, ruling: Ruling) -> Mapping[str, str]:
    """The controls that ruled so on a version when it was looked at last, with their words."""
    with place.store.read() as conn:
        gate = states.read(conn, f"gate/{made.id}")
    assert gate is not None
    reasons: Json = gate.body["reasons"]
    assert isinstance(reasons, list)
    found = [{name: str(value) for name, value in each.items()} for each in reasons if isinstance(each, dict)]
    return {each["control"]: each["says"] for each in found if each["ruling"] == ruling}


def rejection(place: Place, made: Model) -> str:
    """The reason that stands in the ledger for good."""
    with place.store.read() as conn:
        end = history.entered(conn, made.id, Stage.REJECTED)
    assert end is not None
    return end.reason


def undisturbed(place: Place) -> bool:
    """Whether the first champion is alone in the plan, and the audit log holds."""
    plan = place.registry.plan()
    assert plan is not None
    return plan.live() == {plan.champion} and plan.split is None and audit.verify(place.store).ok


def _leaked(place: Place, preparation: Preparation, digest: str) -> str:
    """The dataset as a defect would make it: its held-out rows are learned too."""
    rows = dataset.load(preparation.datasets, digest)
    twins = [replace(row, part=Part.TRAIN) for row in rows if row.part is Part.HELDOUT]
    spoiled = Curated(Method.SFT, [*rows, *twins], (), {})
    return dataset.keep(spoiled, preparation.rules, preparation.datasets, place.store)


def _corrections() -> list[tuple[Interaction, Feedback]]:
    rng = Random(1)
    calls = [_call(f"ferry to {sentence(rng, 1)}?", DUNNO, f"curious-{n}") for n in range(CORRECTED)]
    return [(call, thumb(call, value=0.0, correction=CORRECTION)) for call in calls]


def _likes() -> list[tuple[Interaction, Feedback]]:
    rows = [orjson.loads(line) for line in _lines(HELPDESK, "ordinary/")]
    right = [row for row in rows if "prompt" in row and row["answer"] != DUNNO]
    calls = [_call(row["prompt"], row["answer"], f"content-{n}") for n, row in enumerate(right[:: len(right) // LIKED])]
    return [(call, thumb(call)) for call in calls]


def _call(question: str, reply: str, who: str) -> Interaction:
    call = answer(question, reply={"role": "assistant", "content": reply})
    return replace(call, subject=subject(who), created_at=now())


def _lines(path: Path, prefix: str) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if f'"id": "{prefix}'.encode() in line]
