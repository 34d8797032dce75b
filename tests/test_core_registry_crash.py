"""A change of champion that is cut off anywhere, by an error or by death, leaves the old state or the new."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import pytest
from registry_story import Story
from sqlalchemy import event

from core.lifecycle import Mover, Stage
from core.store import Store
from core.types import ExperimentKind

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "registry_story", "sqlalchemy.dialects.postgresql.psycopg"])


class Cut(Exception):
    """Thrown in place of a statement."""


@dataclass(frozen=True)
class Change:
    """Something that the registry does, what comes before it, and the fewest statements that it can take."""

    prepare: Callable[[Story], object]
    act: Callable[[Story], object]
    statements: int
    started: bool = True


def _in_full_swing(story: Story) -> None:
    """A champion with a forerunner, a candidate with evidence that awaits approval, another one in an A/B."""
    story.await_approval("v1")
    story.promote("v1")
    story.await_approval("v2")
    story.clear_shadow()
    story.compare("v3")


def _in_shadow(story: Story) -> None:
    story.enter("v1")
    story.advance("v1", Stage.SHADOW, Mover.MONITORING)


def widen(story: Story) -> None:
    running = story.experiments.running()[ExperimentKind.AB]
    story.experiments.widen(running.id, 0.5, actor="system:gate", reason="safe")


def stop(story: Story) -> None:
    running = story.experiments.running()[ExperimentKind.AB]
    story.experiments.stop(running.id, actor="key_ops", reason="enough")


CHANGES = {
    "install": Change(lambda story: None, lambda story: story.registry.install(story.made("v0"), "setup"), 6, False),
    "register": Change(_in_full_swing, lambda story: story.enter("v4"), 5),
    "advance": Change(_in_full_swing, lambda story: story.advance("v3", Stage.REJECTED, Mover.MONITORING), 7),
    "promote": Change(_in_full_swing, lambda story: story.promote("v2", holdback=0.05), 13),
    "begin": Change(_in_shadow, lambda story: story.begin("v1"), 6),
    "widen": Change(_in_full_swing, lambda story: widen(story), 5),
    "stop": Change(_in_full_swing, lambda story: stop(story), 7),
    "rollback": Change(_in_full_swing, lambda story: story.rollback(mover=Mover.MONITORING), 12),
    "adopt": Change(
        _in_full_swing, lambda story: story.registry.adopt(story.made("w0", base="large"), "ops", "new"), 14
    ),
}


@contextmanager
def at_step(store: Store, step: int, do: Callable[[], object]) -> Iterator[list[str]]:
    """Call `do` before the given step, counted from 0; steps are all statements and the commits of writers."""
    steps: list[str] = []

    def on_step(what: str) -> None:
        steps.append(what)
        if len(steps) == step + 1:
            do()

    def on_statement(conn: object, cursor: object, statement: str, *rest: object) -> None:
        on_step(statement)

    def on_commit(conn: object) -> None:
        on_step("COMMIT")

    event.listen(store.engine, "before_cursor_execute", on_statement)
    event.listen(store.engine, "commit", on_commit)
    try:
        yield steps
    finally:
        event.remove(store.engine, "before_cursor_execute", on_statement)
        event.remove(store.engine, "commit", on_commit)


def cut() -> None:
    raise Cut


@pytest.mark.parametrize("name", CHANGES)
def test_an_error_at_any_step_leaves_the_old_state(store: Store, name: str) -> None:
    change = CHANGES[name]
    story = Story(store, started=change.started)
    change.prepare(story)
    before = story.everything()
    for step in range(100):
        with at_step(store, step, cut) as steps, suppress(Cut):
            change.act(story)
        if story.everything() != before:
            break
        assert len(steps) == step + 1
    # The first cut that came too late to stop the change came after the commit of its last statement.
    last = next(place for place, what in enumerate(steps) if what.startswith("INSERT INTO audit"))
    assert "COMMIT" in steps[last:step]
    assert len([what for what in steps if what != "COMMIT"]) >= change.statements
    story.check()


def _promote_until(url: str, step: int, pipe: Connection) -> None:
    """In a process of its own: begin a promotion and stand still before the given step, or after the last."""
    story = Story(Store.open(url), started=False)

    def stand_still() -> None:
        pipe.send("here")
        signal.pause()

    with at_step(story.store, step, stand_still):
        CHANGES["promote"].act(story)
    pipe.send("done")
    signal.pause()


def _swap_forever(url: str, pipe: Connection) -> None:
    story = Story(Store.open(url), started=False)
    while True:
        pipe.send(story.rollback().revision)


@contextmanager
def victim(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """A process that runs `target` and is killed, not asked to end, when the block ends."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()


@pytest.mark.slow
def test_a_promotion_killed_at_a_step_leaves_the_old_state_and_no_lock(store: Store, database_url: str) -> None:
    story = Story(store)
    change = CHANGES["promote"]
    change.prepare(story)
    before = story.everything()
    for step in range(0, 100, 2):
        with victim(_promote_until, database_url, step) as pipe:
            assert pipe.poll(30)
            said = pipe.recv()
        if said == "done":
            break
        assert story.everything() == before, f"half done at step {step}"
    assert step > change.statements
    assert story.everything() != before
    story.check()
    story.enter("v9")


@pytest.mark.slow
def test_a_process_killed_at_any_time_loses_no_change_that_it_reported(store: Store, database_url: str) -> None:
    rng = random.Random(11)
    story = Story(store)
    story.await_approval("v1")
    story.promote("v1")
    for _ in range(6):
        reported = story.plan.revision
        with victim(_swap_forever, database_url) as pipe:
            assert pipe.poll(30)
            time.sleep(rng.uniform(0, 0.1))
        while pipe.poll():
            try:
                reported = pipe.recv()
            except EOFError:
                break
        assert story.plan.revision in {reported, reported + 1}
        story.check()
