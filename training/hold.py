"""A run in a worker's hands: renewed and reported on from a thread of its own while the worker does the work.

That the run was cancelled or taken over is noticed here within a second.
"""

import logging
import threading
from collections.abc import Mapping
from types import TracebackType

from core.clock import SECOND
from core.errors import LeaseLost, Unavailable
from core.runs import Claim, Runs
from core.types import Json

LEASE = 15 * SECOND
EVERY = 1.0
"""Seconds between two reports."""

log = logging.getLogger(__name__)


class Hold:
    """Holds a claim until the block ends; what was told last is in every report."""

    def __init__(self, runs: Runs, claim: Claim, lease: int = LEASE) -> None:
        self.claim = claim
        self._runs = runs
        self._lease = lease
        self._progress: Mapping[str, Json] = claim.run.progress
        self._lost: LeaseLost | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="hold", daemon=True)

    def __enter__(self) -> "Hold":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    @property
    def progress(self) -> Mapping[str, Json]:
        """What was told last."""
        return self._progress

    @property
    def lost(self) -> bool:
        """Whether the run was ended or taken by another."""
        return self._lost is not None

    def note(self, progress: Mapping[str, Json]) -> None:
        """What the next report says. Raises LeaseLost."""
        self._progress = progress
        if self._lost:
            raise self._lost

    def tell(self, progress: Mapping[str, Json], dataset: str | None = None) -> None:
        """Report at once. Raises LeaseLost and Unavailable."""
        self.note(progress)
        self._runs.report(self.claim, self._lease, progress, dataset)

    def _renew(self) -> None:
        while not self._ending.wait(EVERY):
            try:
                self._runs.report(self.claim, self._lease, self._progress)
            except LeaseLost as lost:
                self._lost = lost
                return
            except Unavailable as error:
                # Nobody else can take the run while the database is away.
                log.warning("the run could not be reported on: %s", error.message)
