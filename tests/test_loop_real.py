"""The loop on the real parts: vLLM, TRL, conductor and gateway, killed on the way, from a run to the second rollback.

One walk (loop_walk.py) on a Hone of its own, on hone-tiny with a hurried profile; each test is one thing that must be
true of it.
"""

import asyncio
import json
from collections.abc import Iterator

import pytest
from fixtures_hone import start_hone, stop_hone
from loop_seen import Seen
from loop_walk import PROFILE, RECIPE, SECRET, walk
from sqlalchemy import select

from agent.cli.api_client import ApiClient
from core.ids import bare
from core.lifecycle import Stage
from core.schema import feedback, interactions
from core.store import Store

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("loop")
    profile = folder / "profile.toml"
    profile.write_text(PROFILE)
    hone = start_hone(folder / "data", HONE_CONFIG=str(profile))
    try:
        seen = asyncio.run(walk(hone))
        print(f"\nseconds {seen.seconds}, told {seen.tally.statuses}, changes {[c.seconds for c in seen.changes]}")
        yield seen
    finally:
        stop_hone(hone)


def test_the_candidate_knows_what_the_champion_did_not(seen: Seen) -> None:
    assert sum(seen.ordinary) >= 0.95 * len(seen.ordinary)
    assert sum(seen.shifted) == 0
    before, after = seen.right[seen.old], seen.right[seen.new]
    assert sum(before) == 0
    assert sum(after) >= 0.8 * len(after)


def test_a_killed_trainer_goes_on_from_a_checkpoint_with_the_same_dataset(seen: Seen) -> None:
    first, *later = seen.starts
    assert first == 0
    assert len(later) == 1
    assert RECIPE["steps"] / 2 - RECIPE["checkpoint_every"] <= later[0] < RECIPE["steps"]
    assert seen.run is not None
    assert seen.run.dataset == seen.digest is not None
    assert seen.run.attempts == 1
    manifest = json.loads((seen.hone.data / "runs" / seen.run.id / "manifest.json").read_text())
    assert manifest["dataset"] == seen.digest
    assert manifest["metrics"]["steps"] == RECIPE["steps"]


def test_a_killed_engine_costs_customers_no_more_than_another_try(seen: Seen) -> None:
    assert seen.tally.given_up == []
    told = seen.tally.statuses
    assert all(told[act][503] + told[act][502] > 0 for act in ("shadow", "ab")), "nobody noticed the kill"
    assert {status for act in ("shadow", "ab") for status in told[act]} <= {200, 201, 502, 503}
    assert all(set(told[act]) <= {200, 201} for act in ("questions", "changes"))


def test_a_killed_engine_tells_nothing_against_the_candidate(seen: Seen) -> None:
    assert seen.after_kill == [Stage.SHADOW, Stage.AB]
    assert seen.since_kill["shadow"] > 0 < seen.since_kill["ab"]
    assert seen.candidate is not None
    assert seen.candidate.stage is Stage.AWAITING_APPROVAL
    assert seen.candidate.evidence is not None
    assert seen.candidate.evidence["shadow"]["failed"] == 0


def test_every_answer_and_rating_that_a_customer_got_is_in_the_ledger(seen: Seen) -> None:
    store = Store.open(seen.hone.settings.database_url)
    try:
        with store.read() as conn:
            answers, ratings = set(conn.scalars(select(interactions.c.id))), set(conn.scalars(select(feedback.c.id)))
    finally:
        store.close()
    assert len(seen.tally.chats) > 300
    assert {bare(chat) for chat in seen.tally.chats} <= answers
    assert set(seen.tally.ratings) <= ratings


def test_a_killed_conductor_is_followed_by_one_that_goes_on(seen: Seen) -> None:
    before, after = seen.leaders
    assert list(after[: len(before)]) == list(before)
    assert len(after) > len(before) > 0
    assert list(after) == sorted(set(after))


def test_a_promotion_takes_a_second_person_and_the_evidence_of_now(seen: Seen) -> None:
    assert seen.refusals == ["own_run", "own_run", "evidence_stale", "conflict"]


def test_promotion_and_rollbacks_take_a_second_at_most(seen: Seen) -> None:
    assert [change.champion for change in seen.changes] == [seen.new, seen.old, seen.new]
    assert all(change.acknowledged for change in seen.changes)
    assert max(change.seconds for change in seen.changes) <= 1


def test_answers_during_the_changes_are_by_the_old_or_the_new_champion(seen: Seen) -> None:
    since, until = seen.changing
    api = ApiClient(seen.hone.url, seen.hone.keys["ops"])
    rows = list(api.items("/api/interactions", 100_000, since=since, until=until))
    assert len(rows) > 30
    assert {row["served"] for row in rows} == {seen.old, seen.new}
    assert {row["finish"] for row in rows} == {"stop"}


def test_the_champion_before_stays_loaded(seen: Seen) -> None:
    assert len(seen.loaded) == 3
    assert all(loaded >= {seen.old, seen.new} for loaded in seen.loaded)


def test_a_customer_who_is_erased_leaves_no_word_behind(seen: Seen) -> None:
    before, after = seen.traces
    assert "ledger.db" in {name.removesuffix("-wal") for name in before}
    assert any(name.startswith("datasets/") for name in before), "the word was never trained on"
    assert after == []
    assert seen.run is not None
    assert (seen.erased["datasets"], seen.erased["versions"]) == ([seen.run.dataset], [seen.new])
    shown = seen.hone.command("interactions", "show", seen.forgotten, "--json", key=seen.hone.keys["reviewer"])
    row = json.loads(shown.stdout)
    assert (row["messages"], row["reply"]) == ([], None)
    assert [(said["correction"], said["comment"]) for said in row["feedback"]] == [(None, None)]
    listed = seen.hone.command("interactions", "list", "--limit", "10000", "--json", key=seen.hone.keys["reviewer"])
    assert SECRET not in shown.stdout + listed.stdout


def test_the_audit_chain_tells_the_whole_story_and_holds(seen: Seen) -> None:
    assert seen.hone.command("audit", "verify").returncode == 0
    rows = ApiClient(seen.hone.url, seen.hone.keys["ops"]).items("/api/audit", 1000)
    told = [row["action"] for row in rows]
    story = ["plan.install", "run.request", "model.register", "plan.promote", "plan.rollback", "subject.erase"]
    assert [told.index(action) for action in story] == sorted(told.index(action) for action in story)
    assert told.count("plan.promote") == 1
    assert told.count("plan.rollback") == 2
