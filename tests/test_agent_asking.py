"""Ratings are asked for at random: the draw, its header, and the row that keeps the probability, on a real gateway."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures_gateway import CHALLENGER, HELLO, Gateway, eventually, gateway, slow
from fixtures_loop import advanced, compared, trained

from agent.ask import CHAT, understand
from agent.invitation import SALT, Invitations
from core import states
from core.asking import STATE
from core.experiments import Experiments
from core.ids import new_id
from core.lifecycle import Stage
from core.types import Arm, Finish, Role, Subject
from serving.router import bucket

HEADER = "x-hone-ask"
BODY = {"model": "hone", "messages": HELLO, "max_tokens": 4}
PLAIN = understand(CHAT, b'{"model":"hone","messages":[{"role":"user","content":"x"}]}')
SHARE = 0.3


def asking(**feedback: float) -> dict[str, Any]:
    return {"feedback": {"ask_more": 0.9, **feedback}}


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("asking"), settings=asking(ask=SHARE)) as running:
        yield running


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("always")) as running:
        yield running


async def many(hone: Gateway, bodies: list[dict[str, Any]], role: Role = Role.USER) -> list[tuple[str, str | None]]:
    """The id of each answer, and the header that it came with."""
    limits, key = httpx.Limits(max_connections=16), hone.keys[role]
    async with httpx.AsyncClient(base_url=hone.url, limits=limits, timeout=20, trust_env=False) as http:

        async def one(body: dict[str, Any]) -> tuple[str, str | None]:
            answer = await http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200, answer.text
            return _first(answer.text)["id"], answer.headers.get(HEADER)

        return await asyncio.gather(*(one(body) for body in bodies))


def _first(text: str) -> dict[str, Any]:
    """An answer's body, or of a stream its first event."""
    return dict(json.loads(text.removeprefix("data: ").partition("\n\n")[0]))


def within(found: int, n: int, share: float) -> bool:
    """Whether a count lies within four standard deviations of what the share makes likely."""
    return abs(found - share * n) <= 4 * math.sqrt(n * share * (1 - share))


async def test_the_header_comes_with_exactly_those_answers_whose_row_has_the_probability(hone: Gateway) -> None:
    bodies = [{**BODY, "stream": bool(n % 2), "user": f"u{n % 40}"} for n in range(200)]
    answers = await many(hone, bodies)
    rows = [hone.row(answer) for answer, _ in answers]
    assert [row.asked for row in rows] == [SHARE if header else None for _, header in answers]
    assert {header for _, header in answers} == {None, "thumbs"}
    assert within(sum(row.asked is not None for row in rows), 200, SHARE)
    for stream in (False, True):
        assert within(sum(row.asked is not None for row in rows if row.stream is stream), 100, SHARE)


def test_whether_a_rating_is_asked_for_follows_from_the_calls_id_and_its_own_salt() -> None:
    usual = Invitations("thumbs", SHARE, 0.9)
    ids = [new_id() for _ in range(4000)]
    drawn = {one for one in ids if usual.draw(one, PLAIN, more=False)}
    assert within(len(drawn), len(ids), SHARE)
    assert drawn == {one for one in ids if bucket(SALT, Subject(one)) < SHARE}
    raised = {one for one in ids if usual.draw(one, PLAIN, more=True)}
    assert drawn < raised
    # Scores are drawn from the same ids under another salt, and must not tell who is asked.
    scored = {one for one in ids if bucket("score", Subject(one)) < 0.5}
    assert within(len(drawn & scored), len(drawn), 0.5)


def test_more_never_means_less() -> None:
    invitation = Invitations("thumbs", 1.0, 0.1).draw(new_id(), PLAIN, more=True)
    assert invitation is not None
    assert invitation.probability == 1.0


def test_a_metric_of_any_name_fits_into_a_header() -> None:
    invitation = Invitations("\u00e9toile or\r\nx-evil: 1", 1.0, 1.0).draw(new_id(), PLAIN, more=False)
    assert invitation is not None
    assert invitation.header == (HEADER.encode(), b"%C3%A9toile%20or%0D%0Ax-evil%3A%201")


async def test_nothing_that_a_client_sends_changes_its_probability(hone: Gateway) -> None:
    wishes: list[dict[str, Any]] = [
        {"user": "ask me"},
        {"user": "ask me", "safety_identifier": "always"},
        {"metadata": {"asked": "1", "x-hone-ask": "thumbs", "propensity": "1"}},
        {"seed": 7, "temperature": 0.0},
    ]
    for wish in wishes:
        headers = {HEADER: "thumbs", "x-request-id": "the-same-each-time"}
        async with httpx.AsyncClient(base_url=hone.url, headers=headers, trust_env=False, timeout=20) as http:
            key = {"authorization": f"Bearer {hone.keys[Role.USER]}"}
            answers = [await http.post("/v1/chat/completions", json={**BODY, **wish}, headers=key) for _ in range(40)]
        rows = [hone.row(answer.json()["id"]) for answer in answers]
        assert {row.asked for row in rows} == {SHARE, None}, wish
        assert within(sum(row.asked is not None for row in rows), 40, SHARE), wish


async def test_what_is_not_kept_only_measures_or_says_nothing_is_not_asked_about(always: Gateway) -> None:
    silent: list[dict[str, Any]] = [{"store": False}, {"metadata": {"purpose": "measurement"}}]
    for extra in silent:
        for stream in (False, True):
            [(answer, header)] = await many(always, [{**BODY, **extra, "stream": stream}], Role.OPS)
            assert (header, always.row(answer).asked) == (None, None), extra
    always.engine.knobs = slow(tokens=0)
    try:
        [(answer, header)] = await many(always, [BODY])
    finally:
        always.engine.knobs = slow()
    row = always.row(answer)
    assert not (row.reply or {}).get("content"), "or this shows nothing"
    assert (header, row.asked) == (None, None)


async def test_an_answer_that_failed_or_was_never_begun_is_not_asked_about(always: Gateway) -> None:
    before = len(always.rows())
    always.engine.knobs = slow(fail=1.0)
    try:
        with always.http() as http:
            answers = [http.post("/v1/chat/completions", json={**BODY, "stream": stream}) for stream in (False, True)]
    finally:
        always.engine.knobs = slow()
    assert [(answer.status_code >= 500, HEADER in answer.headers) for answer in answers] == [(True, False)] * 2
    rows = eventually(lambda: found if len(found := always.rows()) == before + 2 else None)[before:]
    assert [(row.finish, row.asked) for row in rows] == [(Finish.ERROR, None)] * 2


async def test_a_stream_that_broke_off_was_asked_about_if_its_head_said_so(always: Gateway) -> None:
    always.engine.knobs = slow(cut_after=3)
    try:
        with always.http() as http:
            answer = http.post("/v1/chat/completions", json={**BODY, "stream": True})
    finally:
        always.engine.knobs = slow()
    assert answer.headers[HEADER] == "thumbs"
    row = always.row(_first(answer.text)["id"])
    assert (row.finish, row.asked) == (Finish.ERROR, 1.0)


def test_completions_are_asked_about_like_chats(always: Gateway) -> None:
    with always.http() as http:
        answer = http.post("/v1/completions", json={"model": "hone", "prompt": "Once", "max_tokens": 4})
    assert answer.headers[HEADER] == "thumbs"
    assert always.row(answer.json()["id"]).asked == 1.0


def test_a_shadow_twin_was_seen_by_nobody_and_asked_of_nobody(tmp_path: Path) -> None:
    with gateway(tmp_path, settings={"shadow": {"share": 1.0}}) as running:
        trained(running)
        advanced(running, CHALLENGER, Stage.SHADOW)
        assert eventually(lambda: running.parts.plans.current().shadow)
        with running.http() as http:
            http.post("/v1/chat/completions", json=BODY)
        served, mirrored = eventually(lambda: rows if len(rows := running.rows()) == 2 else None)
    assert (served.arm, served.asked) == (Arm.CHAMPION, 1.0)
    assert (mirrored.arm, mirrored.asked) == (Arm.SHADOW, None)


async def test_every_arm_is_asked_the_same_share(tmp_path: Path) -> None:
    with gateway(tmp_path, settings=asking(ask=SHARE)) as running:
        trial = compared(running, share=0.1)
        Experiments(running.parts.store).widen(trial.id, 0.5, actor="system:gate", reason="it is time")
        assert eventually(lambda: (split := running.parts.plans.current().split) and split.share == 0.5)
        answers = await many(running, [{**BODY, "user": f"u{n}"} for n in range(240)])
        rows = [running.row(answer) for answer, _ in answers]
    arms = Counter(row.arm for row in rows)
    asked = Counter(row.arm for row in rows if row.asked == SHARE)
    assert arms.keys() == {Arm.CHAMPION, Arm.CHALLENGER}
    assert {row.asked for row in rows} == {SHARE, None}
    for arm, n in arms.items():
        assert within(asked[arm], n, SHARE)


async def test_more_is_asked_without_a_restart_while_the_conductor_says_so(tmp_path: Path) -> None:
    with gateway(tmp_path, settings=asking(ask=0.0)) as running:
        store, clock = running.parts.store, running.parts.clock

        def say(more: bool) -> None:
            with store.write() as conn:
                states.put(conn, STATE, {"more": more, "reason": "traffic changed", "at": clock()}, clock())
            assert eventually(lambda: running.parts.plans.wants_ratings is more)

        before = await many(running, [BODY] * 40)
        say(True)
        raised = await many(running, [BODY] * 100)
        say(False)
        after = await many(running, [BODY] * 40)
        assert {header for _, header in before + after} == {None}
        found = [running.row(answer).asked for answer, _ in raised]
    assert set(found) <= {0.9, None}
    assert within(found.count(0.9), 100, 0.9)


def test_the_header_is_documented(always: Gateway) -> None:
    with always.http(Role.OPS) as http:
        document = http.get("/openapi.json").json()
    for path in ("/v1/chat/completions", "/v1/completions"):
        assert HEADER in document["paths"][path]["post"]["responses"]["200"]["headers"]
