"""Single answers for reviewers: drawn by worth with a known chance, shown blind, the same one until it is rated."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import advanced, ask, chat, holder, newcomer, trained, twin
from sqlalchemy import delete, select

from agent import worth
from agent.singles import Singles
from agent.worth import WORTH, Drawn, Reason
from core import reports, states
from core.asking import Unreviewed
from core.ids import new_id
from core.lifecycle import Stage
from core.schema import asks, scores
from core.store import insert_new
from core.types import Arm, Interaction, Role

NEXT = "/api/review/next?kind=answer"
R = 2000
PLACES = 1000


@pytest.fixture
def hone(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path, settings={"shadow": {"share": 1e-12}}) as running:
        yield running


def drawn(hone: Gateway, key: str | None = None) -> httpx.Response:
    return ask(hone, "GET", NEXT, role=Role.REVIEWER, key=key)


def shown(hone: Gateway, key: str | None = None) -> dict[str, Any]:
    answer = drawn(hone, key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def rate(hone: Gateway, response_id: str, key: str | None = None, **changes: Any) -> None:
    body = {"response_id": response_id, "name": "thumbs", "value": False, **changes}
    answer = ask(hone, "POST", "/v1/feedback", body, role=Role.REVIEWER, key=key)
    assert answer.status_code == 201, answer.text


def noted(hone: Gateway) -> list[Any]:
    with hone.parts.store.read() as conn:
        return list(conn.execute(select(asks).order_by(asks.c.id)))


def score(hone: Gateway, row: Interaction, value: float, name: str = "logprob") -> None:
    made = {"id": f"{row.id}-{name}", "created_at": 1, "interaction": row.id, "version": CHAMPION, "source": "engine"}
    with hone.parts.store.write() as conn:
        insert_new(conn, scores, [{**made, "name": name, "value": value}])


def test_an_answer_comes_with_its_conversation_and_tells_nothing_of_its_version_or_of_why(hone: Gateway) -> None:
    served = chat(hone, "When do you open?")
    found = shown(hone)
    assert found == {
        "id": f"chatcmpl-{served.id}",
        "messages": list(served.messages),
        "answer": served.reply,
        "name": "thumbs",
        "left": 1,
    }
    text = drawn(hone).text
    assert not [word for word in (CHAMPION, "champion", "random", "propensity") if word in text]


def test_a_draw_is_a_row_with_its_chance_and_its_reason(hone: Gateway) -> None:
    rows = [chat(hone, f"question {n}") for n in range(4)]
    found = shown(hone)
    [row] = noted(hone)
    assert row.interaction in [answer.id for answer in rows]
    assert found["id"] == f"chatcmpl-{row.interaction}"
    assert (row.actor, row.propensity, row.reason) == (holder(hone, Role.REVIEWER), 0.25, "random")


def test_the_same_answer_comes_again_until_it_is_rated_by_the_metric(hone: Gateway) -> None:
    for n in range(5):
        chat(hone, f"question {n}")
    first = shown(hone)
    rate(hone, first["id"], name="rating", value=0.5)
    assert [shown(hone) for _ in range(3)] == [first] * 3
    assert len(noted(hone)) == 1
    rate(hone, first["id"], correction="We open at nine.")
    second = shown(hone)
    assert (second["id"] != first["id"], second["left"]) == (True, 4)
    assert [row.propensity for row in noted(hone)] == [0.2, 0.25]


def test_nobody_is_asked_twice_nor_about_what_another_reviewer_has(hone: Gateway) -> None:
    for n in range(6):
        chat(hone, f"question {n}")
    other = newcomer(hone, Role.REVIEWER)
    seen = []
    for key in (None, other) * 3:
        seen.append(shown(hone, key)["id"])
        rate(hone, seen[-1], key)
    assert len(set(seen)) == 6
    for key in (None, other):
        answer = drawn(hone, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_to_review")


def test_what_a_reviewer_rated_unasked_is_not_drawn(hone: Gateway) -> None:
    one, other = chat(hone, "one"), chat(hone, "other")
    rate(hone, f"chatcmpl-{one.id}")
    assert shown(hone)["id"] == f"chatcmpl-{other.id}"


def test_only_stored_whole_answers_of_the_champion_are_drawn(hone: Gateway) -> None:
    served = chat(hone, "the one that may")
    rate(hone, f"chatcmpl-{served.id}")
    changed: dict[str, dict[str, Any]] = {
        "not stored": {"reply": None, "messages": (), "stored": False},
        "failed": {"finish": "error"},
        "no text": {"reply": None},
        "another version": {"served": CHALLENGER, "arm": Arm.CHALLENGER},
        "named": {"arm": Arm.NAMED},
        "shadow": {"arm": Arm.SHADOW},
        "measurement": {"tags": {"purpose": "measurement"}},
    }
    for what, changes in changed.items():
        hone.parts.ledger.record(replace(served, id=new_id(), **changes)).result(5)
        assert drawn(hone).status_code == 404, what
    chat(hone, "another one that may")
    assert drawn(hone).status_code == 200


def test_an_answer_whose_subject_was_erased_comes_no_more(hone: Gateway) -> None:
    served = chat(hone, "forget me")
    shown(hone)
    assert ask(hone, "DELETE", f"/api/subjects/{served.subject}").status_code == 200
    assert drawn(hone).status_code == 404


def test_what_speaks_for_an_answer_is_read_from_the_ledger(hone: Gateway) -> None:
    trained(hone)
    advanced(hone, CHALLENGER, Stage.SHADOW)
    old = [chat(hone, f"old {n}") for n in range(24)]
    for place, row in enumerate(old):
        score(hone, row, -1.0 - place)
    twin(hone, old[0], "The shop opens at nine.")
    agreeing = replace(old[1], id=new_id(), arm=Arm.SHADOW, served=CHALLENGER, parent=old[1].id)
    hone.parts.ledger.record(agreeing).result(5)
    since = hone.parts.clock()
    new = chat(hone, "after the change")
    with hone.parts.store.write() as conn:
        states.put(conn, reports.CONDITION, {"traffic": {"state": "changed", "since": since}}, since)
    whole = 25 + WORTH[Reason.DISAGREEMENT] + 2 * WORTH[Reason.UNCERTAIN] + WORTH[Reason.DRIFT]
    expected = {row.id: (Reason.RANDOM, 1 / whole) for row in old} | {
        old[0].id: (Reason.DISAGREEMENT, 5 / whole),
        old[22].id: (Reason.UNCERTAIN, 4 / whole),
        old[23].id: (Reason.UNCERTAIN, 4 / whole),
        new.id: (Reason.DRIFT, 3 / whole),
    }
    # A draw that is undone leaves all answers for the next one.
    places = iter((n + 0.5) / whole for n in range(int(whole)))
    found = {}
    for place in places:
        singles = Singles(hone.parts.store, "thumbs", "logprob", hone.parts.clock, lambda place=place: place)  # type: ignore[misc]
        assert singles.next("key-r") is not None
        [row] = noted(hone)
        found[row.interaction] = (row.reason, pytest.approx(row.propensity))
        with hone.parts.store.write() as conn:
            conn.execute(delete(asks))
    assert found == expected


def test_users_are_shown_nothing_and_an_unknown_kind_is_refused_by_name(hone: Gateway) -> None:
    chat(hone)
    assert ask(hone, "GET", NEXT, role=Role.USER).status_code == 403
    answer = ask(hone, "GET", "/api/review/next?kind=song", role=Role.REVIEWER)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "kind")
    assert noted(hone) == []


def test_pairs_are_what_is_shown_unless_answers_are_asked_for(hone: Gateway) -> None:
    trained(hone)
    advanced(hone, CHALLENGER, Stage.SHADOW)
    twin(hone, chat(hone), "The shop opens at nine.")
    plain = ask(hone, "GET", "/api/review/next", role=Role.REVIEWER).json()
    assert plain.keys() == {"id", "messages", "a", "b", "left"}
    assert ask(hone, "GET", "/api/review/next?kind=pair", role=Role.REVIEWER).json() == plain
    assert noted(hone) == []


def test_both_kinds_are_documented(hone: Gateway) -> None:
    route = ask(hone, "GET", "/openapi.json").json()["paths"]["/api/review/next"]["get"]
    [kind] = [parameter for parameter in route["parameters"] if parameter["name"] == "kind"]
    assert (kind["schema"]["enum"], kind["schema"]["default"]) == (["pair", "answer"], "pair")
    shapes = route["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [shape["$ref"].rpartition("/")[2] for shape in shapes] == ["PairDocument", "AnswerDocument"]


def pool() -> list[Unreviewed]:
    """A hundred answers: plain ones, and of each reason some."""
    return [Unreviewed(f"a{n}", n, score=-float(n) if n < 60 else None, contradicted=n % 10 == 0) for n in range(100)]


def draw(place: float, drift_since: int | None = 90) -> Drawn:
    found = worth.draw(pool(), drift_since, place)
    assert found is not None
    return found


def test_every_answer_can_be_drawn_as_often_as_its_row_says() -> None:
    rng = random.Random(5)
    found = [draw(rng.random()) for _ in range(R)]
    chances = {one.answer: one.propensity for one in (draw((n + 0.5) / PLACES) for n in range(PLACES))}
    assert len(chances) == 100
    assert sum(chances.values()) == pytest.approx(1)
    assert max(chances.values()) <= 10 * min(chances.values())
    counted = Counter(one.answer for one in found)
    distance = sum((counted[name] - R * chance) ** 2 / (R * chance) for name, chance in chances.items())
    assert distance < 99 + 4 * (2 * 99) ** 0.5
    assert sum(1 / one.propensity for one in found) / R == pytest.approx(100, rel=0.1)


def test_the_leading_reason_is_the_one_that_weighs_most() -> None:
    reasons = {one.answer: one.reason for one in (draw((n + 0.5) / PLACES) for n in range(PLACES))}
    assert reasons["a50"] is Reason.DISAGREEMENT
    assert reasons["a59"] is Reason.UNCERTAIN
    assert reasons["a95"] is Reason.DRIFT
    assert reasons["a1"] is Reason.RANDOM
    assert Counter(reasons.values())[Reason.UNCERTAIN] == 6


def test_few_scores_have_no_tail_and_no_answers_no_draw() -> None:
    few = [replace(answer, contradicted=False) for answer in pool()[:19]]
    assert {worth.draw(few, None, n / 19).reason for n in range(19)} == {Reason.RANDOM}  # type: ignore[union-attr]
    assert worth.draw([], 0, 0.5) is None


def test_the_end_of_the_scale_is_drawn_too() -> None:
    last = draw(1.0 - 2**-53)
    assert last.answer == "a99"
    assert asdict(draw(0.0))["answer"] == "a0"
