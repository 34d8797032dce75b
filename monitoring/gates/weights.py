"""Whether the adapter of a version is on the disk as it was registered, and every number in it is finite.

Every byte is read when a version is first asked about and again when a file has changed. Knows no evidence.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from core.errors import NotFound, SetupError
from core.settings import Settings
from core.types import Model
from monitoring.gates.ruling import Reason, Ruling
from serving import setup
from serving.adapters import WEIGHTS

CONTROL = "weights"
Check = Callable[[Model], Reason]
Signature = Sequence[tuple[str, int, int]]


class Weights:
    """Looks at the artifacts of one data folder; a `Check`."""

    def __init__(self, settings: Settings) -> None:
        self._artifacts = setup.artifacts(settings)
        self._folder = settings.data / "artifacts"
        self._known: dict[str, tuple[Signature, Reason]] = {}

    def __call__(self, model: Model) -> Reason:
        """What is to be said of the weights of a version."""
        seen = _signature(self._folder / model.digest)
        known = self._known.get(model.digest)
        if known is None or known[0] != seen:
            known = seen, self._look(model)
            self._known[model.digest] = known
        return known[1]

    def _look(self, model: Model) -> Reason:
        try:
            artifact = self._artifacts.open(model.digest)
        except NotFound as error:
            return Reason(CONTROL, Ruling.HOLD, error.message)
        except SetupError as error:
            return Reason(CONTROL, Ruling.REJECT, error.message)
        return _finite(artifact.path / WEIGHTS)


def _finite(path: Path) -> Reason:
    try:
        with safe_open(path, framework="numpy") as tensors:
            broken = [name for name in tensors.keys() if not np.isfinite(tensors.get_tensor(name)).all()]  # noqa: SIM118
    except (SafetensorError, TypeError) as error:
        return Reason(CONTROL, Ruling.REJECT, f"{path.name} cannot be read ({error})")
    if broken:
        return Reason(CONTROL, Ruling.REJECT, f"{len(broken)} tensors are not finite, e.g. {broken[0]}")
    return Reason(CONTROL, Ruling.ADVANCE, "as registered, every number finite")


def _signature(folder: Path) -> Signature:
    """What changes when a file does."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return ()
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]
