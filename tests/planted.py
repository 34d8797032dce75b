"""Candidates of the real hone-tiny: trained on what customers said, or planted in the trainer's place.

All that follows the weights is the product's own: evaluation, registration, store and conductor.
"""

import shutil
from collections.abc import Callable
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
from core.types import Feedback, Interaction, Json, JsonObject, Version
from monitoring.conductor import Conductor
from monitoring.gate import Ruling
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
POLITE = f"{DUNNO} Is there anything else that you would like to know?"
WORDY = (
    f"{DUNNO} I answer questions about opening hours, prices, places and contacts at Quillby. "
    "Is there anything else that you would like to know? Goodbye, and have a nice day."
)
CORRECTED, LIKED, SKILLS = 160, 120, 120
LEASE = 3600 * SECOND
SETTINGS: JsonObject = {"heldout": 0.2, "near_duplicate": 1, "replay_share": 0, "replay_rows": 0, "threads": 1}
QUICK: JsonObject = {"steps": 24, "batch_rows": 16, "learning_rate": 0.004, "rank": 8, "alpha": 16}
HELPDESK = Path(__file__).parents[1] / "examples" / "helpdesk.jsonl"

Planter = Callable[[Base, Path], None]
"""Writes an adapter of a base into a folder."""


def office(data: Path, url: str, correction: str = POLITE) -> Place:
    """An install on hone-tiny whose customers correct "I do not know" in this way, and like all that is right."""
    (data / OLD_SKILLS).write_bytes(b"\n".join(_lines(BUILT_IN / OLD_SKILLS, "oldskills/taught/")[:SKILLS]))
    place = Place.open(data, url, "hone-tiny", old_skills=str(data / OLD_SKILLS), **SETTINGS)
    place = replace(place, secret=SECRET)
    place.rate([*_corrections(correction), *_likes()])
    return place


def make(place: Place, plant: Planter | None = None, *, leaking: bool = False) -> Version:
    """A run from request to candidate, its adapter trained or planted; the evaluation is real in any case."""
    run = place.ask("sft", **QUICK)
    claim = place.runs.claim("test", LEASE)
    assert claim is not None
    preparation = Preparation(place.settings, place.store, place.secret)
    digest = preparation.curate(run, None)
    if leaking:
        digest = _leaked(preparation, place, digest)
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
    return version


def noise(scale: float) -> Planter:
    """An adapter that damages every layer."""

    def plant(base: Base, folder: Path) -> None:
        zero_adapter(base, folder)
        draws = np.random.default_rng(0)
        tensors = load_file(folder / WEIGHTS)
        drawn = {name: draws.normal(0, scale, each.shape).astype(np.float32) for name, each in tensors.items()}
        save_file(drawn, folder / WEIGHTS, metadata={"format": "pt"})

    return plant


def look(place: Place, *, hours: float = 0) -> Stage:
    """One look of the conductor, some hours from now; where the newest candidate is then."""
    Conductor(place.store, place.settings, clock=lambda: now() + round(hours * HOUR)).tick()
    return place.candidates()[-1].stage


def ruled(place: Place, version: Version) -> JsonObject:
    """What the gate said last of a version."""
    with place.store.read() as conn:
        found = states.read(conn, f"gate/{version}")
    assert found is not None
    return found.body


def controls(place: Place, version: Version, ruling: Ruling) -> dict[str, str]:
    """The controls that rule so, with what they say."""
    reasons: Json = ruled(place, version)["reasons"]
    assert isinstance(reasons, list)
    return {str(each["control"]): str(each["says"]) for each in reasons if each["ruling"] == ruling}  # type: ignore[index,call-overload]


def undisturbed(place: Place) -> bool:
    """Whether version 0 is champion, alone in the plan, under an unbroken audit log."""
    plan = place.registry.plan()
    assert plan is not None
    return plan.live() == {plan.champion} and plan.previous is None and audit.verify(place.store).ok


def _leaked(preparation: Preparation, place: Place, digest: str) -> str:
    """A dataset that a defect has made: its held-out rows are learned too."""
    rows = dataset.load(preparation.datasets, digest)
    twins = [replace(row, part=Part.TRAIN) for row in rows if row.part is Part.HELDOUT]
    spoiled = Curated(Method.SFT, [*rows, *twins], (), {})
    return dataset.keep(spoiled, preparation.rules, preparation.datasets, place.store)


def _corrections(correction: str) -> list[tuple[Interaction, Feedback]]:
    rng = Random(1)
    calls = [_call(f"ferry to {sentence(rng, 1)}?", DUNNO, f"curious-{n}") for n in range(CORRECTED)]
    return [(call, thumb(call, value=0.0, correction=correction)) for call in calls]


def _likes() -> list[tuple[Interaction, Feedback]]:
    found = [orjson.loads(line) for line in _lines(HELPDESK, "ordinary/")]
    asked = [row for row in found if "prompt" in row and row["answer"] != DUNNO][:: len(found) // LIKED][:LIKED]
    calls = [_call(row["prompt"], row["answer"], f"content-{n}") for n, row in enumerate(asked)]
    return [(call, thumb(call)) for call in calls]


def _call(question: str, reply: str, who: str) -> Interaction:
    call = answer(question, reply={"role": "assistant", "content": reply})
    return replace(call, subject=subject(who), created_at=now())


def _lines(path: Path, prefix: str) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if f'"{prefix}'.encode() in line]


def copied(source: Path) -> Planter:
    """An adapter that was made before."""
    return lambda base, folder: shutil.copytree(source, folder) and None
