"""What a run may be made of: what is new to the champion, what is replayed, and by which method."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures_serving import write_model
from lessons import ALL
from training_place import Place, words

from core import config
from core.clock import HOUR, SECOND, now
from core.datasets import Datasets
from core.lifecycle import Mover, Stage
from core.secret import Secret
from core.types import Feedback, Interaction, RunState
from training import material
from training.curation import Material
from training.harvest import Harvest, Judged
from training.material import OVERLAP, Count, Least, Window
from training.rows import FEEDBACK, OLDER, Method
from training.rules import Policy

Words = Sequence[tuple[Interaction, Feedback]]
LEAST = Least(10, 3)


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    yield opened
    opened.store.close()


@pytest.fixture
def datasets(place: Place) -> Datasets:
    return Datasets(place.settings.data / "datasets")


def thumbs(given: Words, value: float = 1.0) -> list[tuple[Interaction, Feedback]]:
    return [(call, replace(word, value=value, correction=None)) for call, word in given]


def found(given: Words) -> Material:
    return Material(Harvest([Judged(word, call) for call, word in given]))


def ids(given: Words) -> set[str]:
    return {word.id for _, word in given}


def feedback(harvested: Harvest) -> set[str]:
    return {judged.feedback.id for judged in harvested.judged}


def test_before_any_run_everything_is_new(place: Place, datasets: Datasets) -> None:
    given = words(12)
    place.rate(given)
    new = material.window(place.store, datasets)
    assert new == Window()
    assert feedback(material.gather(place.store, new).recent) == ids(given)


def test_what_the_champion_learned_is_older_and_what_came_since_is_new(place: Place, datasets: Datasets) -> None:
    first, second = words(40), words(15, seed=2)
    place.rate(first)
    place.crown(place.train().model)
    place.rate(second)
    gathered = material.gather(place.store, material.window(place.store, datasets))
    assert feedback(gathered.recent) == ids(second)
    assert feedback(gathered.older) == ids(first)


def test_what_a_rejected_candidate_learned_is_still_new(place: Place, datasets: Datasets) -> None:
    given = words(40)
    place.rate(given)
    run = place.train()
    assert run.model is not None
    place.registry.advance(run.model, Stage.REJECTED, mover=Mover.OPERATOR, actor="me", reason="worse")
    new = material.window(place.store, datasets)
    assert feedback(material.gather(place.store, new).recent) == ids(given)
    assert (new.since, new.tried) == (0, run.started_at)


def test_after_a_rollback_what_was_learned_in_vain_is_new_again(place: Place, datasets: Datasets) -> None:
    given = words(40)
    place.rate(given)
    place.crown(place.train().model)
    assert not material.gather(place.store, material.window(place.store, datasets)).recent.judged
    place.registry.rollback(mover=Mover.OPERATOR, actor="me", reason="worse")
    assert feedback(material.gather(place.store, material.window(place.store, datasets)).recent) == ids(given)


def test_a_judgement_that_comes_late_is_not_lost(place: Place, datasets: Datasets) -> None:
    place.rate(words(40))
    place.crown(place.train().model)
    late = words(1, seed=5, at=now() - 60 * SECOND)
    place.rate(late)
    assert feedback(material.gather(place.store, material.window(place.store, datasets)).recent) == ids(late)


def test_the_newest_older_ones_are_looked_through_first(place: Place) -> None:
    long_ago, lately = words(5, at=now() - 9000 * HOUR), words(5, seed=2, at=now() - 30 * HOUR)
    place.rate([*long_ago, *lately])
    every = material.gather(place.store, Window(since=now()))
    assert feedback(every.older) == ids(long_ago) | ids(lately)
    assert not every.recent.judged
    assert feedback(material._newest(place.store, now(), 5)) == ids(lately)


def test_the_overlap_does_not_reach_before_the_beginning() -> None:
    assert Window().start == 0
    assert Window(since=OVERLAP + 5).start == 5


@pytest.mark.parametrize(
    ("given", "method"),
    [
        (words(12), Method.SFT),
        (thumbs(words(12)), Method.SFT),
        ([*thumbs(words(6)), *thumbs(words(6, seed=2), 0.0)], Method.KTO),
        (thumbs(words(12), 0.0), Method.KTO),
    ],
)
def test_auto_takes_the_first_method_with_enough_rows(given: Words, method: Method) -> None:
    curated, count = material.prepare(found(given), "auto", ALL, LEAST)
    assert (curated.method, count.method, count.rows) == (method, method, 12)


def test_a_method_that_was_asked_for_is_taken_however_little_there_is() -> None:
    curated, count = material.prepare(found(thumbs(words(4))), "kto", ALL, LEAST)
    assert (curated.method, count.rows) == (Method.KTO, 4)


def test_replayed_rows_do_not_count() -> None:
    rules = replace(ALL, replay_share=0.5)
    given = Material(found(words(10)).recent, found(words(10, seed=2)).recent)
    curated, count = material.prepare(given, "sft", rules, LEAST)
    sources = [row.provenance.source for row in curated.rows]
    assert sources.count(OLDER) > 0
    assert count.rows == sources.count(FEEDBACK)


def test_like_questions_are_one_topic() -> None:
    call, word = words(1)[0]
    question = str(call.messages[0]["content"])
    asked = [question, f"{question} please", f"{question} now?"]
    given = []
    for place, text in enumerate(asked):
        same = replace(call, id=f"{call.id[:-1]}{place}", messages=[{"role": "user", "content": text}])
        given.append((same, replace(word, id=f"fb_{place}", interaction=same.id, correction=f"answer {place} " * 4)))
    _, count = material.prepare(found([*given, *words(4, seed=3)]), "sft", ALL, LEAST)
    assert count == Count(Method.SFT, 7, 5)


def test_the_settings_become_the_rules(secret: Secret) -> None:
    values = {"may_train": "quorum(3)", "redact": False, "user_share": 0.3, "replay_share": 0.2, "heldout": 0.4}
    rules = material.rules(config.parse({"training": values}), secret)
    assert (rules.may_train, rules.redact, rules.user_shares.share) == (Policy(3), frozenset(), 0.3)
    assert (rules.replay_share, rules.heldout, rules.salt) == (0.2, 0.4, secret.digest("split", ""))
    assert material.rules(config.parse({}), secret).redact


def test_no_candidate_is_made_of_an_empty_ledger(place: Place) -> None:
    run = place.train()
    assert run.state is RunState.FAILED
    assert "0 of 20 usable rows over 0 of 3 topics" in str(run.error)
