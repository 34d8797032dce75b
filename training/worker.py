"""The training worker: claims runs one by one and carries each out, from the ledger's judgements to a candidate.

All that a run has come to is in the ledger and in its folder: a worker that takes it over goes on where the one before
was. Knows no torch; the training itself is done by a process of its own.
"""

import logging
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from core import config
from core.clock import now
from core.config import Settings
from core.errors import Conflict, HoneError, LeaseLost, SetupError, Unavailable
from core.runs import Claim, Runs
from core.secret import Secret
from core.store import Store
from core.types import Json, Version
from serving import setup
from training import candidate, failure, folders
from training.candidate import Result
from training.child import SIGNALS, TRAINER, Child, last_lines
from training.failure import Code
from training.files import get
from training.hold import LEASE, Hold
from training.order import FAILURE, LOG, MANIFEST, PROGRESS
from training.preparation import AGAIN, Ordered, Preparation
from training.yields import Yields

IDLE = 1.0
"""Seconds between two looks for a run."""
LOOK = 0.2
"""Seconds between two looks at the trainer."""
RESTARTS = 3
"""Times that a trainer is started again that a signal ended."""
ATTEMPTS = 5
"""Workers that may die of one run."""

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The worker was asked to end; the run is for the next one."""


class Spoiled(Exception):
    """Rows of the dataset were erased before the trainer had read them."""


class Worker:
    """Carries out the runs of one install until `stop`; `command` is what starts a trainer on a folder."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        secret: Secret,
        command: Sequence[str] = TRAINER,
        lease: int = LEASE,
    ) -> None:
        self._settings = settings
        self._store = store
        self._command = command
        self._lease = lease
        self._runs = Runs(store)
        self._preparation = Preparation(settings, store, secret)
        self._yields = Yields(
            store,
            self._preparation.datasets,
            self._preparation.rules,
            settings.training.method,
            self._preparation.least,
            settings.training.look_every,
        )
        self._owner = f"training-{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = False

    def stop(self) -> None:
        """End soon; safe to call from a signal's handler."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`."""
        self._tidy()
        while not self._stopping:
            try:
                if not self.step():
                    self._yields.look()
            except Unavailable as error:
                log.warning("the database does not answer: %s", error.message)
            self._pause(IDLE)

    def step(self) -> bool:
        """Carry out a run, if one waits; whether there was one. Raises Unavailable."""
        if self._runs.open() is None:
            return False
        claim = self._runs.claim(self._owner, self._lease)
        if claim is None:
            return True  # another worker has it: that is not the time to count
        log.info("run claimed", extra={"run": claim.run.id, "attempt": claim.run.attempts})
        try:
            self._carry_out(claim)
        except LeaseLost as lost:
            log.info("run given up: %s", lost.message, extra={"run": claim.run.id})
        except Stopped:
            self._hand_back(claim)
        except Unavailable:
            self._hand_back(claim)
            raise
        self._tidy()
        return True

    def _carry_out(self, claim: Claim) -> None:
        """From claim to end; raises LeaseLost, Stopped and Unavailable."""
        with Hold(self._runs, claim, self._lease) as hold:
            try:
                version = self._make(hold)
                self._runs.finish(claim, version, _stage(hold, "done", f"{version} is made"))
                log.info("run done", extra={"run": claim.run.id, "model": version})
            except (LeaseLost, Stopped, Unavailable):
                raise
            except HoneError as error:
                self._fail(hold, error.message)
            except Exception as error:
                log.exception("the run failed")
                self._fail(hold, _explained(error))

    def _make(self, hold: Hold) -> Version:
        run = hold.claim.run
        if found := self._runs.result(run.id):
            return found  # a worker died before it could say so
        if run.attempts > ATTEMPTS:
            raise SetupError(
                f"{ATTEMPTS} workers ended unexpectedly while they were at this run; see logs/training.log, and the "
                "kernel's log for processes that were killed for memory."
            )
        digest = run.dataset
        for _ in range(AGAIN):
            self._say(hold, "curating", "choosing what to learn from")
            digest = self._dataset(hold, digest)
            try:
                ordered = self._checked(hold, digest)
                manifest = self._train(hold, folders.place(self._settings, run.id))
            except Spoiled:
                continue
            return self._register(hold, ordered, manifest)
        raise SetupError("Rows of the dataset were erased each time the training began; ask for the run again later.")

    def _dataset(self, hold: Hold, digest: str | None) -> str:
        """The dataset that the run has, while it is whole; else a new one."""
        if digest is not None and self._preparation.is_whole(digest):
            return digest
        made = self._preparation.curate(hold.claim.run, digest)
        hold.tell(hold.progress, made)
        return made

    def _checked(self, hold: Hold, digest: str) -> Ordered:
        self._say(hold, "checking", "looking for base, memory and disk")
        try:
            ordered = self._preparation.order(hold.claim.run, digest)
            self._preparation.check(ordered)
        except Conflict:
            raise Spoiled from None
        return ordered

    def _train(self, hold: Hold, folder: Path) -> Mapping[str, Json]:
        """The trainer's manifest. Raises SetupError with cause and next step, and Spoiled."""
        code = SIGNALS
        (folder / FAILURE).unlink(missing_ok=True)
        for _ in range(1 + RESTARTS):
            if manifest := get(folder / MANIFEST):
                return manifest
            if code < SIGNALS:
                break
            self._say(hold, "loading", "the trainer starts")
            code = self._follow(hold, folder)
        if manifest := get(folder / MANIFEST):
            return manifest
        reason = failure.read(folder)
        if reason and reason.code is Code.DATASET:
            raise Spoiled
        if reason:
            raise SetupError(f"{reason.cause} {reason.next}")
        raise SetupError(_died(code, folder / LOG))

    def _follow(self, hold: Hold, folder: Path) -> int:
        """Start the trainer and report on it until it ends; its exit status."""
        child = Child(self._command, folder, config.environment(self._settings))
        try:
            while (code := child.ended()) is None:
                hold.note(_progress(folder))
                if self._stopping:
                    child.end()
                    raise Stopped
                time.sleep(LOOK)
            hold.note(_progress(folder))
            return code
        finally:
            child.kill()

    def _register(self, hold: Hold, ordered: Ordered, manifest: Mapping[str, Json]) -> Version:
        self._say(hold, "registering", "checking and storing the result")
        folder = folders.place(self._settings, hold.claim.run.id)
        result = Result(folder, manifest, ordered.base, ordered.parent)
        return candidate.enter(result, hold.claim, setup.artifacts(self._settings), self._store)

    def _hand_back(self, claim: Claim) -> None:
        """Leave the run to whoever comes next, unless it has ended meanwhile."""
        log.info("run handed back", extra={"run": claim.run.id})
        with suppress(LeaseLost):
            self._runs.hand_back(claim)

    def _say(self, hold: Hold, stage: str, words: str) -> None:
        if self._stopping:
            raise Stopped
        hold.tell(_stage(hold, stage, words))

    def _fail(self, hold: Hold, error: str) -> None:
        log.warning("run failed: %s", error, extra={"run": hold.claim.run.id})
        self._runs.fail(hold.claim, error)

    def _tidy(self) -> None:
        opened = self._runs.open()
        everything = folders.place(self._settings)
        folders.tidy(everything, self._settings.training.keep_runs, opened.id if opened else None)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            time.sleep(LOOK)


def _stage(hold: Hold, stage: str, words: str) -> Mapping[str, Json]:
    """What was told last, at another stage."""
    return {**hold.progress, "stage": stage, "says": words, "at": now()}


def _progress(folder: Path) -> Mapping[str, Json]:
    found = get(folder / PROGRESS) or {"stage": "loading"}
    return {**found, "log": last_lines(folder / LOG), "says": _sentence(found)}


def _sentence(found: Mapping[str, Json]) -> str:
    """How far the trainer is, for people."""
    stage, step, steps = found["stage"], found.get("step"), found.get("steps")
    return f"{stage}: {step} of {steps}" if steps else f"{stage}"


def _explained(error: Exception) -> str:
    """An error of the worker itself, for people."""
    reason = failure.foreseen(error)
    if reason:
        return f"{reason.cause} {reason.next}"
    return f"The worker met an error that nobody foresaw ({type(error).__name__}); see logs/training.log."


def _died(code: int, trainer_log: Path) -> str:
    if code >= SIGNALS:
        return (
            f"The trainer was killed {1 + RESTARTS} times (signal {code - SIGNALS}), perhaps for memory: free some, or "
            "ask for a run with a larger recipe.accumulation or a smaller recipe.max_length."
        )
    return f"The trainer met an error that nobody foresaw (exit status {code}); {trainer_log} has it."
