"""From a finished run's folder to a registered candidate: checked, stored by content, entered, each step repeatable.

Nothing is visible before the last step, which is one transaction that only the run's present worker can make.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from sqlalchemy import Connection

from core import runs
from core.clock import Clock, now
from core.errors import Conflict, SetupError
from core.lifecycle import Stage
from core.registry import Registry
from core.runs import Claim
from core.store import Store
from core.types import Json, Model, Version
from serving.adapters import CONFIG, WEIGHTS, linear_layers, version_name
from serving.artifacts import Artifact, Artifacts
from serving.base import Base
from training.order import ADAPTER

ACTOR = "system:training"
_NEXT = "Nothing was registered; look at the trainer's log, and ask for another run."


@dataclass(frozen=True, slots=True)
class Result:
    """What a run made: its folder, the trainer's manifest, the base and the champion it was trained against."""

    folder: Path
    manifest: Mapping[str, Json]
    base: Base
    parent: Version | None


class Held(Store):
    """A store that writes only while a run is this worker's."""

    def __init__(self, store: Store, claim: Claim) -> None:
        super().__init__(store.engine)
        self._store = store
        self._claim = claim

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction in which nobody else can end or take the run. Raises LeaseLost."""
        with self._store.write() as conn:
            runs.hold(conn, self._claim)
            yield conn


def enter(result: Result, claim: Claim, artifacts: Artifacts, store: Store, clock: Clock = now) -> Version:
    """Make a run's result a candidate; one that is already changes nothing.

    Raises SetupError or BadRequest for an adapter that must not be served, Conflict when the base is not served any
    more, LeaseLost when the run is not this worker's.
    """
    run = claim.run
    verify(result.folder / ADAPTER, result.base)
    artifact = artifacts.add(result.folder / ADAPTER, _about(result, claim))
    model = _model(result, artifact, run.id, clock())
    registry = Registry(Held(store, claim), clock)
    try:
        return registry.register(model, ACTOR).id
    except Conflict:
        if runs.Runs(store).result(run.id) != model.id:
            raise
        return model.id


def verify(adapter: Path, base: Base) -> None:
    """Raise SetupError unless the folder holds an adapter of this base whose numbers are all finite."""
    layers = {_place(name): shape for name, shape in linear_layers(base).items()}
    path = adapter / WEIGHTS
    if not ((adapter / CONFIG).is_file() and path.is_file() and not path.is_symlink()):
        raise SetupError(f"The trainer left no whole adapter ({CONFIG}, {WEIGHTS}). {_NEXT}")
    try:
        with safe_open(path, framework="numpy") as tensors:
            names = sorted(tensors.keys())
            for name in names:
                _check(name, tensors.get_tensor(name), layers)
    except (SafetensorError, TypeError) as error:
        raise SetupError(f"{WEIGHTS} cannot be read ({error}). {_NEXT}") from None
    if not names:
        raise SetupError(f"{WEIGHTS} holds no weights. {_NEXT}")


def _check(name: str, tensor: np.ndarray, layers: Mapping[str, tuple[int, int]]) -> None:
    layer, _, kind = name.rpartition(".lora_")
    if _place(layer) not in layers or kind not in ("A.weight", "B.weight"):
        raise SetupError(f"{name} belongs to no layer of the base. {_NEXT}")
    outputs, inputs = layers[_place(layer)]
    wanted, place = (inputs, 1) if kind == "A.weight" else (outputs, 0)
    if tensor.ndim != 2 or tensor.shape[place] != wanted:
        raise SetupError(f"{name} has the shape {tensor.shape}, which is not that of the base's layer. {_NEXT}")
    if not np.isfinite(tensor).all():
        raise SetupError(f"{name} holds weights that are no numbers: the training diverged. {_NEXT}")


def _place(layer: str) -> str:
    """A layer's name without what stands before the layers, which differs between files and models in memory."""
    return layer.partition(".layers.")[2]


def _about(result: Result, claim: Claim) -> Mapping[str, Json]:
    """The run is part of the identity: two runs with the same result are two versions."""
    return {
        "base": result.base.name,
        "base_digest": result.base.digest,
        "kind": "trained",
        "run": claim.run.id,
        "dataset": result.manifest["dataset"],
        "method": result.manifest["method"],
    }


def _model(result: Result, artifact: Artifact, run: str, at: int) -> Model:
    return Model(
        id=version_name(result.base, artifact.digest),
        created_at=at,
        stage=Stage.CANDIDATE,
        revision=0,
        base=result.base.name,
        base_digest=result.base.digest,
        digest=artifact.digest,
        path=artifact.digest,
        parent=result.parent,
        run=run,
        manifest={**result.manifest, "artifact": artifact.manifest},
    )
