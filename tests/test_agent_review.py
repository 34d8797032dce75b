"""Blind pairs: nothing tells who gave which answer, each is judged once a person, and the winner gets the row."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import advanced, ask, chat, holder, newcomer, trained, twin

from core.ids import new_id
from core.lifecycle import Stage
from core.types import Arm, Feedback, Interaction, Role

NEXT = "/api/review/next"


@contextmanager
def on_trial(folder: Path, **sections: Any) -> Iterator[Gateway]:
    """With a candidate in shadow, whose twins only the tests make."""
    with gateway(folder, settings={"shadow": {"share": 1e-12}, **sections}) as running:
        trained(running)
        advanced(running, CHALLENGER, Stage.SHADOW)
        yield running


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with on_trial(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """For what changes nothing."""
    with on_trial(tmp_path_factory.mktemp("refusing")) as running:
        yield running


def pair(
    hone: Gateway, text: str = "The shop opens at nine.", user: str = "somebody"
) -> tuple[Interaction, Interaction]:
    served = chat(hone, user=user)
    return served, twin(hone, served, text)


def offered(hone: Gateway, key: str | None = None) -> dict[str, Any]:
    answer = ask(hone, "GET", NEXT, role=Role.REVIEWER, key=key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def judge(hone: Gateway, pair_id: str, better: str, key: str | None = None) -> int:
    answer = ask(hone, "POST", f"/api/review/{pair_id}", {"better": better}, role=Role.REVIEWER, key=key)
    return answer.status_code


def place_of(shown: dict[str, Any], text: str) -> str:
    return next(name for name in ("a", "b") if shown[name]["content"] == text)


def judgements(hone: Gateway, *answers: Interaction) -> list[Feedback]:
    return [found for answer in answers for found in hone.parts.ledger.feedback(answer.id)]


def test_a_pair_tells_nothing_about_who_gave_which_answer(hone: Gateway) -> None:
    served, shadow = pair(hone)
    shown = offered(hone)
    assert shown.keys() == {"id", "messages", "a", "b", "left"}
    assert shown["messages"] == list(served.messages)
    assert served.reply is not None
    assert {shown["a"]["content"], shown["b"]["content"]} == {served.reply["content"], "The shop opens at nine."}
    assert (shown["id"], shown["left"]) == (shadow.id, 1)
    text = json.dumps(shown)
    assert not [word for word in (CHAMPION, CHALLENGER, served.id, "shadow", "champion") if word in text]


def test_either_answer_comes_first_as_often(hone: Gateway) -> None:
    pair(hone)
    keys = [newcomer(hone, Role.REVIEWER) for _ in range(24)]
    first = [place_of(offered(hone, key), "The shop opens at nine.") for key in keys]
    assert 3 <= first.count("a") <= 21
    assert [place_of(offered(hone, key), "The shop opens at nine.") for key in keys[:3]] == first[:3]


def test_a_preference_is_a_row_on_the_better_answer_that_names_the_other(hone: Gateway) -> None:
    for wins in (True, False):
        served, shadow = pair(hone, user=f"user {wins}")
        shown = offered(hone)
        better = place_of(shown, "The shop opens at nine.")
        assert judge(hone, shown["id"], better if wins else {"a": "b", "b": "a"}[better]) == 201
        winner, loser = (shadow, served) if wins else (served, shadow)
        [row] = judgements(hone, served, shadow)
        assert (row.interaction, row.name, row.value, row.tags) == (winner.id, "preference", 1.0, {"over": loser.id})
        assert (row.actor, row.role) == (holder(hone, Role.REVIEWER), Role.REVIEWER)


def test_neither_is_half_a_preference_on_the_served_answer(hone: Gateway) -> None:
    served, shadow = pair(hone)
    assert judge(hone, shadow.id, "neither") == 201
    [row] = judgements(hone, served, shadow)
    assert (row.interaction, row.value, row.tags) == (served.id, 0.5, {"over": shadow.id})


def test_a_pair_is_judged_once_by_a_person_and_again_by_another(hone: Gateway) -> None:
    served, shadow = pair(hone)
    assert [judge(hone, shadow.id, "a"), judge(hone, shadow.id, "b")] == [201, 409]
    answer = ask(hone, "GET", NEXT, role=Role.REVIEWER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_to_review")
    other = newcomer(hone, Role.REVIEWER)
    assert offered(hone, other)["id"] == shadow.id
    assert judge(hone, shadow.id, "neither", other) == 201
    assert len(judgements(hone, served, shadow)) == 2


def test_a_key_that_one_made_oneself_has_no_second_say(hone: Gateway) -> None:
    _, shadow = pair(hone)
    assert ask(hone, "POST", f"/api/review/{shadow.id}", {"better": "a"}).status_code == 201
    made = ask(hone, "POST", "/api/keys", {"name": "my other self", "role": "reviewer"}).json()["key"]
    assert judge(hone, shadow.id, "b", made) == 409
    assert ask(hone, "GET", NEXT, role=Role.REVIEWER, key=made).status_code == 404


def test_of_judgements_by_one_person_at_once_one_counts(hone: Gateway) -> None:
    served, shadow = pair(hone)
    together = threading.Barrier(6)

    def judge_together(better: str) -> int:
        together.wait()
        return judge(hone, shadow.id, better)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(judge_together, "ababab")) == [201] + [409] * 5
    assert len(judgements(hone, served, shadow)) == 1


def test_what_was_taken_back_is_not_asked_again(hone: Gateway) -> None:
    _, shadow = pair(hone)
    made = ask(hone, "POST", f"/api/review/{shadow.id}", {"better": "a"}, role=Role.REVIEWER).json()
    assert ask(hone, "DELETE", f"/v1/feedback/{made['feedback']}", role=Role.REVIEWER).status_code == 200
    assert ask(hone, "GET", NEXT, role=Role.REVIEWER).status_code == 404
    assert judge(hone, shadow.id, "a") == 409


def test_pairs_that_nobody_judged_come_first(hone: Gateway) -> None:
    _, older = pair(hone, user="one")
    _, newer = pair(hone, user="two")
    assert offered(hone)["id"] == newer.id
    assert judge(hone, newer.id, "a", newcomer(hone, Role.REVIEWER)) == 201
    shown = offered(hone)
    assert (shown["id"], shown["left"]) == (older.id, 2)


def test_what_cannot_be_compared_is_not_offered(hone: Gateway) -> None:
    served = chat(hone)
    whole = replace(served, arm=Arm.SHADOW, served=CHALLENGER, parent=served.id)
    changed: dict[str, dict[str, Any]] = {
        "same text": {},
        "not stored": {"reply": None, "messages": (), "stored": False},
        "failed": {"finish": "error", "reply": {"role": "assistant", "content": "half"}},
        "no text": {"reply": None},
        "another version": {"served": CHAMPION, "reply": {"role": "assistant", "content": "other"}},
        "not a shadow": {"arm": Arm.NAMED, "reply": {"role": "assistant", "content": "other"}},
    }
    for what, changes in changed.items():
        hone.parts.ledger.record(replace(whole, id=new_id(), **changes)).result(5)
        assert ask(hone, "GET", NEXT, role=Role.REVIEWER).status_code == 404, what
    _, good = pair(hone, user="other")
    assert offered(hone)["id"] == good.id


def test_without_a_candidate_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with gateway(tmp_path) as hone:
        answer = ask(hone, "GET", NEXT, role=Role.REVIEWER)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_to_review")


def test_what_is_no_pair_is_not_found(refusing: Gateway) -> None:
    served, _ = pair(refusing)
    for name in ("nothing", served.id, f"chatcmpl-{served.id}", "%00", "x" * 300):
        assert judge(refusing, name, "a") == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "better"), ({"better": "c"}, "better"), ({"better": True}, "better"), ({"better": "a", "value": 1}, "value")],
)
def test_a_judgement_that_makes_no_sense_is_refused_by_name(
    refusing: Gateway, body: dict[str, Any], param: str
) -> None:
    served, shadow = pair(refusing)
    answer = ask(refusing, "POST", f"/api/review/{shadow.id}", body, role=Role.REVIEWER)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert judgements(refusing, served, shadow) == []


def test_users_review_nothing(refusing: Gateway) -> None:
    _, shadow = pair(refusing)
    assert ask(refusing, "GET", NEXT, role=Role.USER).status_code == 403
    assert ask(refusing, "POST", f"/api/review/{shadow.id}", {"better": "a"}, role=Role.USER).status_code == 403


def test_where_the_settings_know_no_preference_a_judgement_is_refused(tmp_path: Path) -> None:
    with on_trial(tmp_path, feedback={"names": {"thumbs": {"type": "boolean"}}}) as hone:
        _, shadow = pair(hone)
        answer = ask(hone, "POST", f"/api/review/{shadow.id}", {"better": "a"}, role=Role.REVIEWER)
        assert answer.status_code == 400
        assert "'preference'" in answer.json()["error"]["message"]
